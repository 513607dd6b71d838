package breaker

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// What is counted at once leaves a breaker as what is admitted and reported one by one.
func TestBreakerCountsAtOnce(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			var breakers [2]*Breaker
			for i := range breakers {
				b, err := New(Policy{}, Options{Rand: func() float64 { return 0.5 }})
				if err != nil {
					t.Fatal(err)
				}
				breakers[i] = b
			}
			share := []float64{0, 0.05, 0.3, 0.7}[seed%4]
			for range 300 {
				time.Sleep(time.Duration(rng.ExpFloat64() * float64(time.Second)))
				result := []Result{Failure, Fault, Ignored}[rng.IntN(3)]
				fails, good := rng.Float64() < share, rng.IntN(30)
				era, calm := breakers[1].Calm()
				for i, b := range breakers {
					switch {
					case i == 1 && calm:
						b.CountAt(time.Now(), good)
					default:
						for range good {
							if ticket, err := b.Allow(); err == nil {
								ticket.Done(Success)
							}
						}
					}
					if !fails {
						continue
					}
					var ticket Ticket
					if i == 1 && calm {
						ticket = b.TicketOf(era, new(Room))
					} else {
						ticket, _ = b.Allow()
					}
					ticket.Done(result)
					ticket.Done(Success) // the first report counts
				}
				if one, atOnce := breakers[0].Health(), breakers[1].Health(); one != atOnce {
					t.Fatalf("seed %d: %+v\ncounted at once: %+v", seed, one, atOnce)
				}
			}
		})
	}
}

// A ticket of an era that is over changes nothing, however it ended.
func TestTicketOfAnEraThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := New(Policy{}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		era, _ := b.Calm()
		for b.State() == Closed {
			b.TicketOf(era, new(Room)).Done(Failure)
		}
		if _, calm := b.Calm(); calm {
			t.Error("an open breaker is calm")
		}
		for b.State() != Closed {
			if ticket, err := b.Allow(); err == nil {
				ticket.Done(Success)
			}
			time.Sleep(time.Second)
		}
		before := b.Health()
		for range 100 {
			b.TicketOf(era, new(Room)).Done(Failure)
		}
		if after := b.Health(); after != before {
			t.Errorf("%+v after voices from the past, %+v before", after, before)
		}
	})
}

// A probe's lease is shown by the wall clock of now, whenever it was set. A bubble has no other clock beside it.
func TestLeaseByAClockThatWasSet(t *testing.T) {
	b, err := New(Policy{Probes: 1, OpenTime: time.Millisecond, ProbeLease: time.Minute}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const hours = 8 * 3600 << 30 // where package time has the seconds of a time with a monotonic clock
	*(*uint64)(unsafe.Pointer(&b.born)) -= hours
	for b.State() == Closed {
		ticket, _ := b.Allow()
		ticket.Done(Failure)
	}
	for b.State() == Open {
		runtime.Gosched()
	}
	if _, err := b.Allow(); err != nil {
		t.Fatal(err)
	}
	var open *OpenError
	if _, err := b.Allow(); !errors.As(err, &open) {
		t.Fatalf("a second probe goes out: %v", err)
	}
	if shown := open.RetryAt.Round(0).Sub(time.Now().Round(0)); shown < 30*time.Second || shown > time.Minute {
		t.Errorf("the lease ends in %v by the wall clock", shown)
	}
}
