package hint_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/tether-go/tether/ratelimit/hint"
)

func Example() {
	resp := &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{}}
	resp.Header.Set("Retry-After", "2")

	h := hint.ParseHeader(resp.Header, time.Now())
	if h.Verdict == hint.DontRepeat {
		return
	}
	wait := h.MinWait(resp.StatusCode) // before a repeat
	fmt.Println(wait)
	// Output: 2s
}
