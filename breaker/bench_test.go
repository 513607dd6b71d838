package breaker

import (
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"
)

// TestAllocations keeps the price of a call in the closed state: its ticket.
func TestAllocations(t *testing.T) {
	b := mustNew(t, Policy{}, Options{Observe: func(Event) {}})
	got := testing.AllocsPerRun(1000, func() {
		ticket, _ := b.Allow()
		ticket.Done(Success)
	})
	if got > 1 {
		t.Errorf("%v allocations in a call, want at most 1", got)
	}
}

func BenchmarkCall(b *testing.B) {
	brk := mustNew(b, Policy{}, Options{})
	b.ReportAllocs()
	for b.Loop() {
		ticket, _ := brk.Allow()
		ticket.Done(Success)
	}
}

// BenchmarkCallBare is what BenchmarkCall would cost with gobreaker alone.
func BenchmarkCallBare(b *testing.B) {
	brk := bareWindow()
	b.ReportAllocs()
	for b.Loop() {
		done, _ := brk.Allow()
		done(nil)
	}
}

func BenchmarkCallParallel(b *testing.B) {
	brk := mustNew(b, Policy{}, Options{})
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			ticket, _ := brk.Allow()
			ticket.Done(Success)
		}
	})
}

func BenchmarkCallBareParallel(b *testing.B) {
	brk := bareWindow()
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			done, _ := brk.Allow()
			done(nil)
		}
	})
}

func BenchmarkRefusal(b *testing.B) {
	brk := mustNew(b, Policy{OpenTime: time.Hour}, Options{})
	fail(brk, 5)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = brk.Allow()
	}
}

func bareWindow() *gobreaker.TwoStepCircuitBreaker[bool] {
	return gobreaker.NewTwoStepCircuitBreaker[bool](gobreaker.Settings{
		Interval: 30 * time.Second, BucketPeriod: 3 * time.Second,
	})
}
