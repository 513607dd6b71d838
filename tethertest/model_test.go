package tethertest_test

import (
	"math"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/tether-go/tether/tethertest"
)

func plain(base *http.Client, _ uint64) (*http.Client, error) { return base, nil }

// TestModelWait compares the mean time to an answer with that of the M/M/c queue (Erlang C).
func TestModelWait(t *testing.T) {
	const workers, service, rate = 10, 0.1, 80.0
	r := tethertest.Rehearse(t, tethertest.Rehearsal{
		Clients: 200, Rate: rate / 200, After: 10 * time.Minute, HeaderTimeout: -1, Client: plain,
		Backend: tethertest.Backend{Workers: workers, Service: tethertest.Exponential(100 * time.Millisecond),
			Queue: time.Hour},
	})
	load := rate * service
	below, term := 0.0, 1.0
	for n := range workers {
		below += term
		term *= load / float64(n+1)
	}
	atLeast := term / (1 - load/workers)
	waits := atLeast / (below + atLeast)
	want := 0.002 + service + waits/(workers/service-rate)
	if got := r.Mean.Seconds(); math.Abs(got/want-1) > 0.03 {
		t.Errorf("an answer takes %.4f s on average, want %.4f", got, want)
	}
}

// TestModelLoss compares the share of requests that find the queue full with that of the M/M/c/K
// queue, whose states are a chain of births and deaths.
func TestModelLoss(t *testing.T) {
	const workers, service, rate, queue = 5, 0.1, 60.0, 10 // 120 % of what they can do
	r := tethertest.Rehearse(t, tethertest.Rehearsal{
		Clients: 200, Rate: rate / 200, After: 10 * time.Minute, HeaderTimeout: -1, Client: plain,
		Backend: tethertest.Backend{Workers: workers, Service: tethertest.Exponential(100 * time.Millisecond),
			Queue: queue * 20 * time.Millisecond},
	})
	state, sum := 1.0, 1.0
	for n := 1; n <= workers+queue; n++ {
		state *= rate * service / float64(min(n, workers))
		sum += state
	}
	want, got := state/sum, 1-r.OK
	if math.Abs(got/want-1) > 0.05 {
		t.Errorf("%.4f of the requests found the queue full, want %.4f", got, want)
	}
	if busy := r.Goodput; math.Abs(busy-(1-want)*rate/50) > 0.02 {
		t.Errorf("the workers did %.3f of what they can, want %.3f", busy, (1-want)*rate/50)
	}
}

// TestModelWaste: in a queue deeper than callers wait, an overloaded server works for nobody.
func TestModelWaste(t *testing.T) {
	wholeFleets(t) // a short queue has room more often
	r := tethertest.Rehearse(t, tethertest.Rehearsal{
		Client: plain, Fault: tethertest.Fault{For: 30 * time.Second, Demand: 5},
	})
	if r.Goodput > 0.05 || r.Waste < 0.5 {
		t.Errorf("goodput %.3f, waste %.3f", r.Goodput, r.Waste)
	}
}

// TestModelRepeats: the same seed gives the same figures, another one does not.
func TestModelRepeats(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector shuffles what happens in one instant")
	}
	figures := func(seed uint64) tethertest.Report {
		return tethertest.Rehearse(t, tethertest.Rehearsal{
			Seed: seed, Clients: 200, Warm: 10 * time.Second, After: 20 * time.Second,
			Backend: tethertest.Backend{Workers: 8},
			Fault:   tethertest.Fault{For: 10 * time.Second, Capacity: 0.25},
		})
	}
	first := figures(7)
	if again := figures(7); !reflect.DeepEqual(first, again) {
		t.Errorf("the same seed gives\n%v\nand then\n%v", first, again)
	}
	if reflect.DeepEqual(first, figures(8)) {
		t.Error("another seed gives the same")
	}
}

// TestModelNaive: three retries without a pause never let the server come back.
func TestModelNaive(t *testing.T) {
	r := tethertest.Rehearse(t, sized(tethertest.Rehearsal{
		Fault: tethertest.Fault{For: 30 * time.Second, Capacity: 0.2},
		Client: func(base *http.Client, _ uint64) (*http.Client, error) {
			return &http.Client{Transport: naive{base.Transport}}, nil
		},
	}))
	if r.Recovery >= 0 || r.Attempts < 3 {
		t.Errorf("%v", r)
	}
}

type naive struct{ base http.RoundTripper }

func (n naive) RoundTrip(req *http.Request) (*http.Response, error) {
	for i := 0; ; i++ {
		resp, err := n.base.RoundTrip(req)
		if i == 3 || req.Context().Err() != nil || err == nil && resp.StatusCode < 500 {
			return resp, err
		}
	}
}
