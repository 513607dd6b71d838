package httpwire

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

func TestNotedBodyBlamesTheSourceAlone(t *testing.T) {
	gone := errors.New("the disk is gone")
	for name, tc := range map[string]struct {
		source io.Reader
		length int64
		closed bool // before it is read
		want   bool
	}{
		"as long as told":         {strings.NewReader("12345"), 5, false, false},
		"of no length":            {strings.NewReader("12345"), -1, false, false},
		"too short":               {strings.NewReader("123"), 5, false, true},
		"too long":                {strings.NewReader("1234567"), 5, false, true},
		"its source fails":        {iotest.ErrReader(gone), -1, false, true},
		"it fails once given up":  {iotest.ErrReader(gone), 5, true, false},
		"its source ends at once": {strings.NewReader(""), -1, false, false},
	} {
		req, err := http.NewRequest(http.MethodPut, "http://a.example", io.NopCloser(tc.source))
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = tc.length
		noted := NoteBody(req)
		if tc.closed {
			req.Body.Close()
		}
		io.Copy(io.Discard, req.Body)
		if got := noted.Failed(); got != tc.want {
			t.Errorf("%s: it failed: %v", name, got)
		}
	}
	if NoteBody(&http.Request{Body: http.NoBody}) != nil || (*NotedBody)(nil).Failed() {
		t.Error("no body is noted")
	}
}
