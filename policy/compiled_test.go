package policy

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/retry"
)

func attempts(n int) CallSettings {
	return CallSettings{RetryPolicy: &RetrySettings{MaxAttempts: Ptr(n)}}
}

func TestResolveDefaults(t *testing.T) {
	p := Compile(Document{}, Document{}, Bounds{}).Resolve("https", "a.example", "GET", "/", "")
	want := Resolved{
		Retry: retry.Policy{MaxAttempts: 3, InitialBackoff: 250 * time.Millisecond,
			MaxBackoff: 5 * time.Second, Multiplier: 2, Jitter: retry.JitterFull},
		Retryable: defaultCodes, BudgetRatio: 0.1, HoldMax: time.Hour,
		Breaker: breaker.Policy{Mode: breaker.Auto, ConsecutiveFailures: 5, FailureRatio: 0.5, MinCalls: 20,
			Window:   30 * time.Second,
			OpenTime: 750 * time.Millisecond, MaxOpenTime: 1250 * time.Millisecond, Probes: 1,
			ProbeLease: 10 * time.Second},
	}
	if *p != want {
		t.Errorf("got %+v, want %+v", *p, want)
	}
	for status := -1; status < 700; status++ {
		var retryable bool
		switch status {
		case 408, 425, 429, 500, 502, 503, 504:
			retryable = true
		}
		if p.Retryable.HasHTTP(status) != retryable {
			t.Errorf("status %d", status)
		}
		if code := uint32(status); p.Retryable.hasGRPC(code) != (code == 4 || code == 8 || code == 14) {
			t.Errorf("code %d", code)
		}
	}
}

func TestResolveOrder(t *testing.T) {
	local := Document{
		Defaults: Settings{Call: CallSettings{Timeout: Ptr(9 * time.Second),
			MaxWait: Ptr(8 * time.Second)}},
		Rules: []Rule{
			{Match: Match{Host: "a.example"}, Call: CallSettings{Timeout: Ptr(7 * time.Second)}},
			{Name: "own", Key: keyRule, Match: Match{Path: "/k"}},
		},
	}
	pushed := Document{
		Defaults: Settings{Call: attempts(2)},
		Rules: []Rule{
			{Match: Match{Host: "*.example"},
				Call: CallSettings{AttemptTimeout: Ptr(2 * time.Second),
					MaxWait: Ptr(time.Duration(0))}},
			{Match: Match{Path: "/v1"}, Call: CallSettings{AttemptTimeout: Ptr(3 * time.Second)}},
			{Name: "last", Key: keyRule, Match: Match{Path: "/v1/x"}, Call: attempts(1),
				Target: TargetSettings{CircuitBreaker: &BreakerSettings{
					OpenTime: Ptr(20 * time.Second)}}},
			{Match: Match{GRPCMethod: "/p.S/"}, Call: CallSettings{Timeout: Ptr(time.Second)}},
		},
	}
	s := Compile(local, pushed, Bounds{})
	for _, c := range []struct{ host, path, grpc, want string }{
		{"other", "/", "", "9s 0s 8s false 2 750ms 1.25s "},
		{"other", "/k", "", "9s 0s 8s false 2 750ms 1.25s own"},
		{"a.example", "/", "", "7s 2s 0s true 2 750ms 1.25s "},
		{"b.example", "/", "", "9s 2s 0s true 2 750ms 1.25s "},
		{"a.example", "/v1", "", "7s 3s 0s true 2 750ms 1.25s "},
		{"a.example", "/v1/x/y", "", "7s 3s 0s true 1 20s 20s last"}, // the maximum follows
		{"other", "", "/p.S/M", "1s 0s 8s false 2 750ms 1.25s "},
	} {
		p := s.Resolve("https", c.host, "GET", c.path, c.grpc)
		got := fmt.Sprintf("%v %v %v %v %v %v %v %s", p.Timeout, p.AttemptTimeout, p.MaxWait,
			p.NoWait,
			p.Retry.MaxAttempts, p.Breaker.OpenTime, p.Breaker.MaxOpenTime, p.Key)
		if got != c.want {
			t.Errorf("%s%s%s: %q, want %q", c.host, c.path, c.grpc, got, c.want)
		}
	}
}

func TestResolveSharesAndDoesNotAllocate(t *testing.T) {
	plain := Compile(Document{}, Document{}, Bounds{})
	if plain.Resolve("https", "a", "GET", "/", "") != plain.Resolve("http", "b", "PUT", "/x",
		"/p.S/M") {
		t.Error("two policies without a rule")
	}
	s := manyRules(1000)
	for _, c := range callsOfTests {
		first := s.Resolve("https", c.host, c.method, c.path, c.grpc)
		allocs := testing.AllocsPerRun(100, func() {
			if s.Resolve("https", c.host, c.method, c.path, c.grpc) != first {
				t.Error("another policy for the same call")
			}
			s.Killed("https", c.host, c.method, c.path, c.grpc, time.Time{})
		})
		if allocs != 0 {
			t.Errorf("%v: %v allocations", c, allocs)
		}
	}
}

// manyRules has n rules of which any call of the tests fits some.
func manyRules(n int) *Compiled {
	var cfg Document
	hosts := []string{"a.example", "b.example", "*.example", "c.example", "d.example", ""}
	for i := range n {
		cfg.Rules = append(cfg.Rules, Rule{Match: Match{Host: hosts[i%len(hosts)], Path: "/v1"},
			Call: attempts(1 + i%3)})
	}
	cfg.Kill = []Kill{{Match: Match{Host: "c.example"}, Until: time.Unix(1<<32, 0)}}
	return Compile(Document{}, cfg, Bounds{})
}

func TestRememberKeepsTheFirst(t *testing.T) {
	s := manyRules(1)
	first, second := &Resolved{}, &Resolved{Timeout: 1}
	if s.remember(ruleSet{1}, first) != first || s.remember(ruleSet{1}, second) != first {
		t.Error("two policies for one set of rules")
	}
}

func TestResolvedPoliciesAreBounded(t *testing.T) {
	var cfg Document
	for i := range 12 {
		cfg.Rules = append(cfg.Rules, Rule{Match: Match{Method: methodsWith(i)}, Call: attempts(1 +
			i%3)})
	}
	s := Compile(Document{}, cfg, Bounds{})
	for i := range 1 << 12 {
		last := 3
		for bit := range 12 {
			if i&(1<<bit) != 0 {
				last = 1 + bit%3
			}
		}
		if p := s.Resolve("https", "a", methodNumber(i), "/", ""); p.Retry.MaxAttempts != last {
			t.Fatalf("%b: %d attempts, want %d", i, p.Retry.MaxAttempts, last)
		}
	}
	if n := len(s.resolved); n != maxResolved {
		t.Errorf("%d policies remembered, want %d", n, maxResolved)
	}
}

func methodNumber(i int) string {
	digits := []byte{byte(i / 512), byte(i / 64 % 8), byte(i / 8 % 8), byte(i % 8)}
	for j := range digits {
		digits[j] += 'A'
	}
	return string(digits)
}

func methodsWith(bit int) (methods []string) {
	for i := range 1 << 12 {
		if i&(1<<bit) != 0 {
			methods = append(methods, methodNumber(i))
		}
	}
	return methods
}

func TestResolveIsSafeForConcurrentUse(t *testing.T) {
	s := manyRules(50)
	var wg sync.WaitGroup
	for seed := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(seed), 1))
			for range 500 {
				c := callsOfTests[rng.IntN(len(callsOfTests))]
				p := s.Resolve("https", c.host, c.method, c.path, c.grpc)
				if p != s.Resolve("https", c.host, c.method, c.path, c.grpc) {
					t.Error("another policy for the same call")
				}
				s.Killed("https", c.host, c.method, c.path, c.grpc, time.Unix(0, 0))
			}
		})
	}
	wg.Wait()
}

func TestKilled(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	local := Document{Kill: []Kill{{Name: "own", Match: Match{Path: "/own"},
		Until: now.Add(time.Hour)}}}
	pushed := Document{Kill: []Kill{
		{Name: "past", Match: Match{}, Until: now},
		{Name: "export", Match: Match{Host: "a.example", Path: "/v1/export"},
			Until: now.Add(time.Minute)},
		{Name: "not understood", Match: Match{Host: ":443"}, Until: now.Add(time.Hour)},
		{Name: "grpc", Match: Match{GRPCMethod: "/p.S/"}, Until: now.Add(time.Hour)},
	}}
	s := Compile(local, pushed, Bounds{})
	for _, c := range []struct {
		path, grpc string
		at         time.Duration
		want       string
	}{
		{"/", "", -1, "past"}, {"/", "", 0, ""},
		{"/v1/export/all", "", 0, "export"}, {"/v1//%65xport", "", time.Second, "export"},
		{"/v1/export", "", time.Minute, ""}, {"/v1/exports", "", 0, ""},
		{"/own", "", 0, "own"}, {"", "/p.S/M", 0, "grpc"}, {"", "/p.T/M", 0, ""},
	} {
		name := ""
		if k := s.Killed("https", "a.example", "GET", c.path, c.grpc, now.Add(c.at)); k != nil {
			name = k.Name
		}
		if name != c.want {
			t.Errorf("%s%s at %v: killed by %q, want %q", c.path, c.grpc, c.at, name, c.want)
		}
	}
	all := Compile(Document{}, Document{Kill: []Kill{{Match: Match{}, Until: now.Add(1)}}}, Bounds{})
	if all.Killed("http", "x", "GET", "/", "", now) == nil {
		t.Error("the emergency stop stops nothing")
	}
}

func TestStatusCodes(t *testing.T) {
	for _, c := range []StatusCode{400, 503, 599, 1, 14, 16} {
		text, err := c.MarshalJSON()
		var back StatusCode
		if err != nil || back.UnmarshalJSON(text) != nil || back != c {
			t.Errorf("%v is written %s, %v, and read back as %v", c, text, err, back)
		}
		set := newStatusSet([]StatusCode{c})
		for other := StatusCode(-2); other < 1000; other++ {
			if set.Has(other) != (other == c) {
				t.Errorf("the set of %v has %v: %v", c, other, set.Has(other))
			}
		}
	}
	for _, c := range []StatusCode{-1, 0, 17, 200, 399, 600} {
		if _, err := c.MarshalJSON(); err == nil || newStatusSet([]StatusCode{c}) != (statusSet{}) {
			t.Errorf("%v is taken", c)
		}
	}
	for _, text := range []string{`"OK"`, `"503"`, `14`, `503.5`, `null`, `{}`, `true`,
		`"Unavailable"`} {
		if err := new(StatusCode).UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	for _, rules := range []int{0, 10, 100, 1000} {
		b.Run(fmt.Sprint(rules), func(b *testing.B) {
			s := manyRules(rules)
			b.ReportAllocs()
			for b.Loop() {
				s.Resolve("https", "a.example", "GET", "/v1/search/items", "")
			}
		})
	}
}
