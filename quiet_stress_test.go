package tether

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/internal/target"
	"github.com/tether-go/tether/ratelimit/hint"
)

// Once whoever ends the calm has returned, no call that begins passes, whatever good answers come at that moment.
func TestQuietEndsAtOnce(t *testing.T) {
	impatient := db
	impatient.NoWait = true
	minute := hint.Hint{Wait: time.Minute, Explicit: true}
	spent := hint.Quota{RemainingKnown: true, ResetKnown: true, Reset: time.Minute}
	const until = `"until":"2100-01-01T00:00:00Z","reason":"r"`
	version := 0
	push := func(e *Engine, members string) {
		version++
		if _, err := e.Apply(fmt.Appendf(nil, `{"schema":1,"document":"shop","version":%d,%s}`, version, members)); err != nil {
			t.Fatal(err)
		}
	}
	answers := func(out Outcome) func(*Engine) {
		out.Final = true
		return func(e *Engine) {
			e.Do(context.Background(), db, func(context.Context, *Permit) Outcome { return out })
		}
	}
	for name, end := range map[string]func(*Engine){
		"hold":        answers(Outcome{Class: Overloaded, Status: 503, Hint: minute}),
		"hold of one": answers(Outcome{Class: Overloaded, Partitioned: true, Hint: minute}),
		"quota":       answers(Outcome{Class: Healthy, Hint: hint.Hint{Quota: spent}}),
		"kill": func(e *Engine) {
			push(e, `"kill":[{"name":"k","match":{"host":"orders-db"},`+until+`}]`)
		},
		"kill of a path": func(e *Engine) {
			push(e, `"kill":[{"name":"k","match":{"path":"/v1"},`+until+`}]`)
		},
		"kill, refused": func(e *Engine) {
			e.Apply([]byte(`{"schema":1,"document":"shop","version":9999,"defaults":{"call":{"timeout":7}},` +
				`"kill":[{"name":"k","match":{},` + until + `}]}`))
		},
		"forced open": func(e *Engine) { push(e, `"defaults":{"target":{"circuitBreaker":{"mode":"forced-open"}}}`) },
		"restored": func(e *Engine) {
			e.Restore(fmt.Appendf(nil, `{"tether":1,"holds":[{"host":"orders-db","until":%q}]}`,
				time.Now().Add(time.Minute).Format(time.RFC3339)))
		},
		"key, and its kill": func(e *Engine) {
			push(e, `"rules":[{"name":"s","match":{"path":"/v1"},"key":"rule",`+
				`"target":{"circuitBreaker":{"mode":"forced-open"}}}]`)
		},
		"rate limit": func(e *Engine) {
			push(e, `"defaults":{"target":{"rateLimit":{"perSecond":0.001,"burst":1}}}`)
			e.Do(context.Background(), impatient, served)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 15 {
				version = 0
				what := impatient
				what.Path = "/v1/x"
				e, err := New(Options{Seed: 1})
				if err != nil {
					t.Fatal(err)
				}
				for range 20 {
					e.Do(t.Context(), what, within(time.Microsecond))
				}
				var ended, over atomic.Bool
				var asked, late atomic.Int32
				var wg sync.WaitGroup
				for worker := range 3 {
					wg.Go(func() {
						for !over.Load() {
							asked.Add(1)
							after := ended.Load()
							attempt := func(context.Context) Outcome {
								if after {
									late.Add(1)
								}
								return Outcome{Class: Healthy}
							}
							if worker == 0 {
								e.Run(context.Background(), new(Room), &what, attempt)
								continue
							}
							e.Do(context.Background(), what, func(ctx context.Context, _ *Permit) Outcome { return attempt(ctx) })
						}
					})
				}
				for asked.Load() < 30 {
					runtime.Gosched()
				}
				end(e)
				ended.Store(true)
				for range 3 {
					if e.Do(context.Background(), what, served) == nil {
						late.Add(1)
					}
				}
				over.Store(true)
				wg.Wait()
				if n := late.Load(); n > 0 {
					t.Fatalf("%d calls passed", n)
				}
			}
		})
	}
}

// Whatever goes on at once, all is counted once and nothing is left.
func TestQuietStress(t *testing.T) {
	e, err := New(Options{Seed: 1, MaxTargets: 2})
	if err != nil {
		t.Fatal(err)
	}
	var wg, permits sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 3))
			for range 3000 {
				ctx, cancel := context.WithCancel(context.Background())
				if rng.IntN(50) == 0 {
					ctx = criticality.With(ctx, criticality.Critical)
				}
				what := Call{Host: string(rune('a' + rng.IntN(4)*rng.IntN(2))), Path: "/" + string(rune('a'+rng.IntN(3)))}
				what.NoWait = true
				kind := rng.IntN(40)
				func() {
					defer func() { recover() }()
					e.Do(ctx, what, func(ctx context.Context, p *Permit) Outcome {
						switch kind {
						case 0:
							panic("ours")
						case 1:
							permits.Go(func() { p.Done(Outcome{Class: Healthy}) })
							runtime.Gosched()
						case 2:
							p.Done(Outcome{Class: Transient, Status: 500})
						case 3:
							cancel()
							return Outcome{Class: Transient, Err: ctx.Err()}
						case 4:
							return Outcome{Class: Transient, Status: 500}
						case 5:
							return Outcome{Class: Transient, Err: errors.New("refused")}
						case 6:
							defer permits.Go(func() { p.Done(Outcome{Class: Transient}) })
						case 7:
							return Outcome{Class: Overloaded, Status: 503, Hint: hint.Hint{Wait: time.Microsecond, Explicit: true}}
						case 8:
							e.Health()
						}
						return Outcome{Class: Healthy}
					})
				}()
				cancel()
			}
		})
	}
	wg.Wait()
	permits.Wait()
	e.targets.Mu.Lock()
	all := []*target.Target{e.targets.Rest}
	for _, target := range e.targets.ByKey {
		all = append(all, target)
	}
	e.targets.Mu.Unlock()
	for _, target := range all {
		if target == nil {
			continue
		}
		target.Flush()
		if target.Users.Load() != 0 || target.Fast.UnderWay != 0 || target.InFlight.Load() != 0 ||
			target.Fast.Troubles.Load() != 0 {
			t.Errorf("%v: %d users, %d quiet calls, %d attempts, %d troubles are left", target.Key, target.Users.Load(),
				target.Fast.UnderWay, target.InFlight.Load(), target.Fast.Troubles.Load())
		}
		running := reflect.ValueOf(target.Gate).Elem().FieldByName("running").Int()
		if running != 0 {
			t.Errorf("%v: %d running at the gate", target.Key, running)
		}
	}
}
