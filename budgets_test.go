package tether_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/random"
	"github.com/tether-go/tether/policy"
)

// sharing returns clients, each with an engine of its own, that share their budgets.
func sharing(t *testing.T, n int, base http.RoundTripper, cfg policy.Document, opts tether.Options) (all []*tether.Client) {
	t.Helper()
	opts.Budgets = new(tether.Budgets)
	for i := range n {
		opts.Seed = uint64(i + 1)
		opts.Policy = cfg
		c, err := tether.NewClient(&http.Client{Transport: base}, opts)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// TestW17SharedBudgets: eight engines that call one dead server re-attempt once in all, at each server.
func TestW17SharedBudgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: func(*http.Request, int) (*http.Response, error) { return nil, io.EOF }}
		clients := sharing(t, 8, b, budgetOnly(), tether.Options{})
		for _, url := range []string{"http://a.example", "http://b.example"} {
			before := b.attempts()
			for range 10 {
				for _, c := range clients {
					get(c, url)
				}
			}
			if n := b.attempts() - before - 80; n != 1 {
				t.Errorf("%d re-attempts at %s, want 1", n, url)
			}
		}
	})
}

// TestLaw1SharedBudgets: of a server that fails in phases, the re-attempts of all engines together stay
// below a tenth of what succeeded, plus what one client starts with, at every moment.
func TestLaw1SharedBudgets(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			rng := random.New(seed + 1)
			var mu sync.Mutex // guards what follows
			attempts, calls, succeeded, most := 0, 0, 0, 0.0
			b := roundTrip(func(req *http.Request) (*http.Response, error) {
				mu.Lock()
				defer mu.Unlock()
				attempts++
				allowed := 1 + 0.1*float64(succeeded)
				if over := float64(attempts-calls) - allowed; over > 1e-6 {
					t.Errorf("%d re-attempts after %d successes", attempts-calls, succeeded)
				}
				most = max(most, float64(attempts-calls)/allowed)
				if phase := time.Now().Unix() / 20 % 3; phase == 0 || phase == 1 && rng.Float64() < 0.3 {
					return nil, io.EOF
				}
				succeeded++
				return answer(req, 200), nil
			})
			var all sync.WaitGroup
			for i, c := range sharing(t, 5, b, budgetOnly(), tether.Options{}) {
				pause := random.New(seed*10 + uint64(i))
				all.Go(func() {
					for range 300 {
						mu.Lock()
						calls++
						mu.Unlock()
						get(c, api)
						time.Sleep(time.Duration(pause.Float64() * float64(time.Second)))
					}
				})
			}
			all.Wait()
			if most < 0.5 {
				t.Errorf("only %v of what is allowed was used: it proves nothing", most)
			}
		})
	}
}

// TestLaw8SharedBudgets: a document that loosens one engine, as far as that one's bounds let it, loosens no
// other; and what calms it refuses nobody else.
func TestLaw8SharedBudgets(t *testing.T) {
	for ratio, want := range map[string]int{"1": 1, "0": 1, "0.01": 1} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: always(200)}
			clients := sharing(t, 2, b, budgetOnly(), tether.Options{Bounds: policy.Bounds{MaxRetryRatio: 1}})
			pushed, other := clients[0], clients[1]
			doc := fmt.Sprintf(`{"schema":1,"document":"d","version":1,"defaults":{"target":{"retryBudget":{"ratio":%s}}}}`, ratio)
			if _, err := pushed.Engine().Apply([]byte(doc)); err != nil {
				t.Fatal(err)
			}
			for range 100 {
				get(pushed, api)
			}
			get(other, api)
			b.becomes(always(500))
			before := b.attempts()
			for range 20 {
				get(other, api)
			}
			if n := b.attempts() - before - 20; n != want {
				t.Errorf("with ratio %s at the one, %d re-attempts of the other, want %d", ratio, n, want)
			}
		})
	}
}

// TestW17SharedBudgetsOutliveNobody: engines that are dropped leave nothing behind, and whoever comes after
// them has saved nothing.
func TestW17SharedBudgetsOutliveNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(500)}
		budgets := new(tether.Budgets)
		fleeting := func(host string) (reattempts int) {
			before := b.attempts()
			// OpenTelemetry's global provider keeps what is registered with it.
			c := client(t, b, tether.Options{Budgets: budgets, MeterProvider: noop.NewMeterProvider()})
			get(c, "http://"+host)
			return b.attempts() - before - 1
		}
		if n := fleeting("a.example"); n != 1 {
			t.Errorf("the first had %d re-attempts", n)
		}
		runtime.GC()
		if n := fleeting("a.example"); n != 0 {
			t.Errorf("the second had %d re-attempts", n)
		}
		live := func() uint64 {
			b.mu.Lock()
			b.times, b.bodies = nil, nil
			b.mu.Unlock()
			var m runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before := live()
		for i := range 5000 {
			if n := fleeting(fmt.Sprintf("%d.example", i)); n > 1 || n == 1 && i > 500 {
				t.Fatalf("server %d had %d re-attempts", i, n)
			}
			if i%100 == 0 {
				runtime.GC()
			}
		}
		if after := live(); after > before+200<<10 {
			t.Errorf("%d bytes more are in use", after-before)
		}
		runtime.KeepAlive(budgets)
	})
}

func ExampleBudgets() {
	var budgets tether.Budgets // for all of the process
	server := roundTrip(func(req *http.Request) (*http.Response, error) {
		fmt.Println("an attempt")
		return answer(req, 502), nil
	})
	var cfg policy.Document
	cfg.Defaults.Call.RetryPolicy = &policy.RetrySettings{InitialBackoff: policy.Ptr(time.Millisecond)}
	for range 2 { // each SDK makes an engine of its own
		engine, err := tether.New(tether.Options{Policy: cfg, Budgets: &budgets})
		if err != nil {
			fmt.Println(err)
			return
		}
		engine.Client(&http.Client{Transport: server}).Get("http://api.example.com")
	}
	// Output:
	// an attempt
	// an attempt
	// an attempt
}
