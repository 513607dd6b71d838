package tethertest

import (
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"
)

func plain(base *http.Client, _ uint64) (*http.Client, error) { return base, nil }

type naive struct{ base http.RoundTripper }

func (n naive) RoundTrip(req *http.Request) (*http.Response, error) {
	for i := 0; ; i++ {
		resp, err := n.base.RoundTrip(req)
		if i == 3 || req.Context().Err() != nil || err == nil && resp.StatusCode < 500 {
			return resp, err
		}
	}
}

func threeRetries(base *http.Client, _ uint64) (*http.Client, error) {
	return &http.Client{Transport: naive{base.Transport}}, nil
}

var scenarios = map[string]Rehearsal{
	"S0 healthy":    {After: 60 * time.Second},
	"S1 steady":     {Backend: Backend{Fail: 0.01}},
	"S2 outage":     {Fault: Fault{For: 30 * time.Second, Down: true}},
	"S3 brown deep": {Fault: Fault{For: 30 * time.Second, Capacity: 0.2}},
	"S3q brown sh":  {Fault: Fault{For: 30 * time.Second, Capacity: 0.2}, Backend: Backend{Queue: 500 * time.Millisecond}},
	"S4 surge":      {Fault: Fault{For: 60 * time.Second, Demand: 5}},
	"S5 429":        {Fault: Fault{For: 20 * time.Second, Closed: 429}, Deadline: 60 * time.Second},
	"S5d 503":       {Fault: Fault{For: 20 * time.Second, Closed: 503, Date: true}, Deadline: 60 * time.Second},
	"SL slow":       {Fault: Fault{For: 60 * time.Second, Extra: 540 * time.Millisecond}},
	"Na mix":        {Backend: Backend{Workers: 120, Service: Mixture{Constant(5 * time.Millisecond), Constant(600 * time.Millisecond), 0.1}}},
	"Nb lognormal":  {Backend: Backend{Workers: 120, Service: Lognormal{21 * time.Millisecond, 1.5}}},
	"Nc step":       {Fault: Fault{For: 60 * time.Second, Extra: 200 * time.Millisecond}},
	"Nf 30% 500":    {Backend: Backend{Fail: 0.3}},
	"Ng 1% lost":    {Backend: Backend{Lose: 0.01}},
}

func TestScenarios(t *testing.T) {
	seeds := 1
	if n, _ := strconv.Atoi(os.Getenv("SEEDS")); n > 0 {
		seeds = n
	}
	for name, r := range scenarios {
		t.Run(name, func(t *testing.T) {
			for seed := range seeds {
				r.Seed = uint64(seed + 1)
				switch os.Getenv("CLIENT") {
				case "plain":
					r.Client = plain
				case "naive":
					r.Client = threeRetries
				}
				began := time.Now()
				rep := Rehearse(t, r)
				t.Logf("%-14s %v  [%v]", name, rep, time.Since(began).Round(10*time.Millisecond))
				if os.Getenv("SECONDS") != "" {
					for i, s := range rep.PerSecond {
						t.Log(i, s)
					}
				}
			}
		})
	}
}
