package breaker

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
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
						ticket = b.TicketOf(era)
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
			b.TicketOf(era).Done(Failure)
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
			b.TicketOf(era).Done(Failure)
		}
		if after := b.Health(); after != before {
			t.Errorf("%+v after voices from the past, %+v before", after, before)
		}
	})
}
