package retry_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/retry"
)

// otherSystems are the vectors of testdata/budgets.json that describe what Budget refuses to be, and
// why. A vector that is neither here nor replayed fails TestVectors.
var otherSystems = map[string]string{
	"aws_adaptive_cubic":    "a rate limit of the client's own; pacing learns from answers instead",
	"aws_adaptive_update":   "as aws_adaptive_cubic",
	"grpc_throttle":         "tokens that start full: a launch would begin with the storm",
	"sre_adaptive_throttle": "refuses first attempts; Budget bounds re-attempts only",
}

type vectors struct {
	AWS struct {
		Cases []struct {
			Name        string
			MaxAttempts int   `json:"max_attempts"`
			CapMS       int64 `json:"cap_ms"`
			Responses   []any
			Expect      []struct {
				Outcome string
				DelayMS int64 `json:"delay_ms"`
			}
		}
	} `json:"aws_standard_2026"`
	Finagle struct {
		Cases []struct {
			Requests  int
			Percent   float64
			MinPerS   float64 `json:"min_per_s"`
			TTLS      float64 `json:"ttl_s"`
			Balance   float64
			Tolerance float64
		}
	} `json:"finagle_budget"`
	Amplification struct {
		Cases []struct {
			RetryRatio float64 `json:"retry_ratio"`
			Factor     float64
		}
	}
	GRPC struct {
		InitialMS  int64 `json:"initial_ms"`
		Multiplier float64
		MaxMS      int64 `json:"max_ms"`
		Retries    []struct {
			N         int
			NominalMS int64 `json:"nominal_ms"`
		}
	} `json:"grpc_backoff"`
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	data, err := os.ReadFile("testdata/budgets.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestVectors: every published vector is replayed below, or said to be of another system.
func TestVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/budgets.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	replayed := []string{"version", "note", "aws_standard_2026", "finagle_budget", "amplification", "grpc_backoff"}
	for _, name := range replayed {
		if _, ok := all[name]; !ok {
			t.Errorf("%s is not there", name)
		}
		delete(all, name)
	}
	for name := range all {
		if otherSystems[name] == "" {
			t.Errorf("nobody replays %s or says why not", name)
		}
	}
	for name := range otherSystems {
		if _, ok := all[name]; !ok {
			t.Errorf("%s is not there", name)
		}
	}
}

// The delays are ours where the random factor is 1: base 50 ms, doubled, under a true cap. The tokens
// are not: AWS's 500 allow 35 re-attempts to a client that is just launched.
func TestVectorsAWSDelays(t *testing.T) {
	delays := 0
	for _, c := range readVectors(t).AWS.Cases {
		backoff := retry.Policy{InitialBackoff: 50 * time.Millisecond,
			MaxBackoff: time.Duration(c.CapMS) * time.Millisecond}.Backoff(highest)
		for i, step := range c.Expect {
			if status, ok := c.Responses[i].(string); step.Outcome != "retry" || !ok || status == "throttled" {
				continue // the end of a call, a hint, or AWS's other base after a refusal
			}
			want := time.Duration(step.DelayMS) * time.Millisecond
			if got := backoff.Next(); want-got > time.Microsecond || got > want {
				t.Errorf("%s: delay %d is %v, want just under %v", c.Name, i+1, got, want)
			}
			delays++
		}
	}
	if delays != 13 {
		t.Errorf("%d delays were compared, want 13", delays)
	}
}

// Linkerd's and Finagle's ratio is ours, of successes instead of requests; their floor by time is what
// we refuse, so it is taken off what is expected. Percentages over 1 are no ratio of ours.
func TestVectorsFinagle(t *testing.T) {
	replayed := 0
	for _, c := range readVectors(t).Finagle.Cases {
		if c.Percent > 1 {
			continue
		}
		replayed++
		synctest.Test(t, func(t *testing.T) {
			b := budget(t, c.Percent, 0)
			for range c.Requests {
				b.Call()
				b.Success()
			}
			time.Sleep(time.Duration(c.TTLS-1) * time.Second)
			taken := float64(drain(b))
			if want := c.Balance - c.MinPerS*c.TTLS; math.Abs(taken-want) > 1 {
				t.Errorf("%d calls at %v allow %v, want %v", c.Requests, c.Percent, taken, want)
			}
		})
	}
	if replayed != 3 {
		t.Errorf("%d cases were replayed, want 3", replayed)
	}
}

// A ratio of 0.1 makes attempts at most 1.1 times the calls. The worst case is a server that serves
// every call but wants each repeated for as long as the budget lasts. (The other cases are nested
// loops; the root's inner wrapper makes one attempt.)
func TestVectorsAmplification(t *testing.T) {
	replayed := 0
	for _, c := range readVectors(t).Amplification.Cases {
		if c.RetryRatio == 0 {
			continue
		}
		replayed++
		b := budget(t, c.RetryRatio, 0)
		attempts := 0
		const calls = 100_000
		for range calls {
			b.Call()
			attempts += 1 + drain(b)
			b.Success()
		}
		if got := float64(attempts) / calls; got > c.Factor || got < c.Factor-0.001 {
			t.Errorf("attempts are %v times the calls, want %v", got, c.Factor)
		}
	}
	if replayed != 1 {
		t.Errorf("%d cases were replayed, want 1", replayed)
	}
}

// gRPC's nominal delays are our ceilings; its jitter of a fifth is narrower than any of ours.
func TestVectorsGRPCBackoff(t *testing.T) {
	v := readVectors(t).GRPC
	backoff := retry.Policy{InitialBackoff: time.Duration(v.InitialMS) * time.Millisecond,
		MaxBackoff: time.Duration(v.MaxMS) * time.Millisecond, Multiplier: v.Multiplier}.Backoff(highest)
	for _, r := range v.Retries {
		want := time.Duration(r.NominalMS) * time.Millisecond
		if got := backoff.Next(); want-got > time.Microsecond || got > want {
			t.Errorf("delay %d is %v, want just under %v", r.N, got, want)
		}
	}
	if len(v.Retries) != 5 {
		t.Errorf("%d delays", len(v.Retries))
	}
}
