package tether_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/tether-go/tether"
)

// pooled is the cheapest transport there is: what remains is what a wrapper costs.
type pooled struct{ resp http.Response }

func (p *pooled) RoundTrip(req *http.Request) (*http.Response, error) {
	p.resp.Request = req
	return &p.resp, nil
}

func newPooled() *pooled {
	return &pooled{http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}}
}

func call(t testing.TB, c *http.Client) {
	req, err := http.NewRequest(http.MethodGet, "http://api.example.com/v1/items", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

// TestAllocations: everything on, a GET costs at most two allocations more than a bare client's.
func TestAllocations(t *testing.T) {
	bare := &http.Client{Transport: newPooled()}
	wrapped := client(t, newPooled(), tether.Options{})
	without := testing.AllocsPerRun(1000, func() { call(t, bare) })
	with := testing.AllocsPerRun(1000, func() { call(t, wrapped.Client) })
	if with-without > 2 {
		t.Errorf("%v allocations a call, a bare client makes %v: more than 2 above it", with, without)
	}
	for _, target := range wrapped.Engine().Health().Targets {
		for _, stage := range []tether.Stage{tether.StageKill, tether.StageHold, tether.StageBreaker, tether.StagePacing} {
			if target.Stages[stage].Passed == 0 {
				t.Errorf("the %v was not asked: the figure means nothing", stage)
			}
		}
	}
}

func BenchmarkCall(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		c := &http.Client{Transport: newPooled()}
		b.ReportAllocs()
		for b.Loop() {
			call(b, c)
		}
	})
	b.Run("tether", func(b *testing.B) {
		c := client(b, newPooled(), tether.Options{})
		b.ReportAllocs()
		for b.Loop() {
			call(b, c.Client)
		}
	})
}

// BenchmarkDo: everything on, no attempt timeout, and a function that costs nothing.
func BenchmarkDo(b *testing.B) {
	healthy := func(context.Context, *tether.Permit) tether.Outcome { return tether.Outcome{Class: tether.Healthy} }
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			healthy(ctx, nil)
		}
	})
	b.Run("tether", func(b *testing.B) {
		e := engine(b, tether.Options{})
		what := tether.Call{Scheme: "grpc", Host: "shop.example.com", GRPCMethod: "/shop.Stock/Get"}
		b.ReportAllocs()
		for b.Loop() {
			if err := e.Do(ctx, what, healthy); err != nil {
				b.Fatal(err)
			}
		}
	})
}
