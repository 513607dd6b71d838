package tether_test

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/random"
	"github.com/tether-go/tether/policy"
)

// budgetOnly is a Config in which nothing but the budget stands between a client and a dead server.
func budgetOnly() policy.Document {
	var cfg policy.Document
	cfg.Defaults.Target.CircuitBreaker = &policy.BreakerSettings{Mode: policy.Ptr(breaker.ForcedClosed)}
	cfg.Defaults.Target.Pacing = &policy.PacingSettings{Mode: policy.Ptr("off")}
	return cfg
}

func clientOf(t *testing.T, base http.RoundTripper, cfg policy.Document, seed uint64) *tether.Client {
	t.Helper()
	c, err := tether.NewClient(&http.Client{Transport: base}, tether.Options{Policy: cfg, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestW17OneClientTenThousandCalls: into a dead server they make at most 1.0005 attempts each, with
// the breaker's help and without.
func TestW17OneClientTenThousandCalls(t *testing.T) {
	for name, cfg := range map[string]policy.Document{"defaults": {}, "budget alone": budgetOnly()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{serve: func(*http.Request, int) (*http.Response, error) { return nil, io.EOF }}
				c := clientOf(t, b, cfg, 1)
				const calls = 10_000
				for range calls {
					get(c, api)
				}
				perCall := float64(b.attempts()) / calls
				t.Logf("%.4f attempts a call", perCall)
				if perCall > 1.0005 {
					t.Errorf("%v attempts a call, at most 1.0005", perCall)
				}
				if name == "budget alone" && perCall < 1.0001 {
					t.Errorf("%v attempts a call: the one that was saved is missing", perCall)
				}
			})
		})
	}
}

// TestW17TenThousandClientsOneCallAMinute: a launch on a dead server, ten minutes long. What each
// client starts with is all that is ever added.
func TestW17TenThousandClientsOneCallAMinute(t *testing.T) {
	const minutes = 10
	for _, test := range []struct {
		name    string
		cfg     policy.Document
		clients int // fewer with the defaults, whose breakers make the easier case
	}{{"defaults", policy.Document{}, 1_000}, {"budget alone", budgetOnly(), times(10_000)}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{serve: func(*http.Request, int) (*http.Response, error) { return nil, io.EOF }}
				began := time.Now()
				var all sync.WaitGroup
				for i := range test.clients {
					c, rng := clientOf(t, b, test.cfg, uint64(i+1)), random.New(uint64(i+1e6))
					all.Go(func() {
						time.Sleep(time.Duration(rng.Float64() * float64(50*time.Second)))
						for range minutes {
							next := time.Now().Add(time.Minute)
							get(c, api)
							time.Sleep(time.Until(next))
						}
					})
				}
				all.Wait()
				const afterTwo = 2*time.Minute + 5*time.Second // what the second minute's calls repeat
				perCall := float64(b.attempts()) / float64(test.clients*minutes)
				late := float64(b.attemptsSince(began.Add(afterTwo))) / float64(test.clients*(minutes-2))
				t.Logf("%.4f attempts a call over ten minutes, %.4f after the second", perCall, late)
				if perCall > 1.2 || late > 1.01 {
					t.Errorf("%v attempts a call, at most 1.2; %v after the second minute, at most 1.01",
						perCall, late)
				}
				if test.name == "budget alone" && (perCall < 1.05 || late < 0.9) {
					t.Errorf("%v and %v attempts a call: it proves nothing", perCall, late)
				}
			})
		})
	}
}

// failsAt is a server that fails a share of the attempts, half of those without an answer.
func failsAt(share float64, seed uint64) http.RoundTripper {
	rng := random.New(seed)
	return roundTrip(func(req *http.Request) (*http.Response, error) {
		switch r := rng.Float64(); {
		case r < share/2:
			return nil, io.EOF
		case r < share:
			return answer(req, 502), nil
		}
		return answer(req, 200), nil
	})
}

// TestW17SteadyErrors: where one attempt in a hundred fails, the budget suffices: a busy client and
// many quiet ones.
func TestW17SteadyErrors(t *testing.T) {
	for _, test := range []struct {
		name           string
		clients, calls int
		every          time.Duration
	}{
		{"busy", 4, times(20_000), 100 * time.Millisecond},
		{"quiet", times(200), 1_000, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const warm = 100 // calls
				var mu sync.Mutex
				failed, failedWarm := 0, 0
				var all sync.WaitGroup
				for i := range test.clients {
					c := clientOf(t, failsAt(0.01, uint64(i+1e6)), policy.Document{}, uint64(i+1))
					all.Go(func() {
						for n := range test.calls {
							next := time.Now().Add(test.every)
							status, _, err := get(c, api)
							if status != 200 || err != nil {
								mu.Lock()
								failed++
								if n >= warm {
									failedWarm++
								}
								mu.Unlock()
							}
							time.Sleep(time.Until(next))
						}
					})
				}
				all.Wait()
				served := 1 - float64(failed)/float64(test.clients*test.calls)
				servedWarm := 1 - float64(failedWarm)/float64(test.clients*(test.calls-warm))
				t.Logf("%.4f %% succeed, %.4f %% once warm", 100*served, 100*servedWarm)
				if served < 0.999 || servedWarm < 0.9999 {
					t.Errorf("%v succeed, want 0.999; %v once warm, want 0.9999", served, servedWarm)
				}
			})
		})
	}
}
