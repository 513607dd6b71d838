package criticality_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tether-go/tether/criticality"
)

func ExampleWith() {
	client := http.DefaultClient // or a tether.Client
	prefetch := func(ctx context.Context, url string) (*http.Response, error) {
		ctx = criticality.With(ctx, criticality.Sheddable)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		return client.Do(req)
	}
	_ = prefetch
	fmt.Println(criticality.From(criticality.With(context.Background(), criticality.Sheddable)))
	// Output: sheddable
}

func ExampleHandler() {
	handler := criticality.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println(criticality.From(r.Context())) // calls made with this context inherit it
	}), "X-Shop-Criticality")
	for _, word := range []string{"critical", "utmost"} {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.Header.Set("X-Shop-Criticality", word)
		handler.ServeHTTP(httptest.NewRecorder(), req)
	}
	// Output:
	// critical
	// default
}
