package tethergrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether/policy"
)

const host = "shop.example.com"

// policyOf is a config of one retryPolicy, with a member replaced if one is given.
func policyOf(replaced string) string {
	members := []string{`"maxAttempts": 3`, `"initialBackoff": "0.1s"`, `"maxBackoff": "1s"`,
		`"backoffMultiplier": 2`, `"retryableStatusCodes": ["UNAVAILABLE"]`}
	name, _, some := strings.Cut(replaced, ":")
	for i, m := range members {
		if some && strings.HasPrefix(m, name) {
			members[i] = replaced
		}
	}
	return `{"methodConfig": [{"name": [{"service": "grpc.health.v1.Health", "method": "Check"}], "retryPolicy": {` +
		strings.Join(members, ", ") + `}}]}`
}

// throttleOf is a config of one retryThrottling. Without a methodConfig grpc-go doesn't check it.
func throttleOf(tokens, ratio string) string {
	return `{"methodConfig": [], "retryThrottling": {"maxTokens": ` + tokens + `, "tokenRatio": ` + ratio + `}}`
}

// laxer marks texts that grpc-go takes.
const laxer = "grpc-go takes it"

func TestServiceConfigRefuses(t *testing.T) {
	const retry, name = "methodConfig[0].retryPolicy.", "methodConfig[0].name[0]"
	for _, test := range []struct{ text, path, note string }{
		{`{`, "", ""},
		{`[]`, "", ""},
		{`{"methodConfig": {}}`, "methodConfig", ""},
		{`{"methodConfig": [7]}`, "methodConfig[0]", ""},
		{policyOf(`"maxAttempts": 1`), retry + "maxAttempts", ""},
		{policyOf(`"maxAttempts": 2.5`), retry + "maxAttempts", ""},
		{policyOf(`"maxAttempts": -2`), retry + "maxAttempts", ""},
		{policyOf(`"maxAttempts": 99999999999`), retry + "maxAttempts", laxer},
		{policyOf(`"maxAttempts": null`), retry + "maxAttempts", ""},
		{policyOf(`"initialBackoff": "0s"`), retry + "initialBackoff", ""},
		{policyOf(`"initialBackoff": "-1s"`), retry + "initialBackoff", ""},
		{policyOf(`"initialBackoff": "100ms"`), retry + "initialBackoff", ""},
		{policyOf(`"initialBackoff": 1`), retry + "initialBackoff", ""},
		{policyOf(`"initialBackoff": "s"`), retry + "initialBackoff", ""},
		{policyOf(`"initialBackoff": "1"`), retry + "initialBackoff", ""},
		{policyOf(`"initialBackoff": "1.2.3s"`), retry + "initialBackoff", ""},
		{policyOf(`"initialBackoff": "--1s"`), retry + "initialBackoff", laxer},
		{policyOf(`"initialBackoff": "1e3s"`), retry + "initialBackoff", ""},
		{policyOf(`"initialBackoff": "1m0s"`), retry + "initialBackoff", ""},
		{policyOf(`"maxBackoff": "0.1234567891s"`), retry + "maxBackoff", ""},
		{policyOf(`"maxBackoff": "315576000001s"`), retry + "maxBackoff", ""},
		{policyOf(`"backoffMultiplier": 0`), retry + "backoffMultiplier", ""},
		{policyOf(`"backoffMultiplier": "2"`), retry + "backoffMultiplier", ""},
		{policyOf(`"retryableStatusCodes": []`), retry + "retryableStatusCodes", ""},
		{policyOf(`"retryableStatusCodes": ["BUSY"]`), retry + "retryableStatusCodes[0]", ""},
		{policyOf(`"retryableStatusCodes": [17]`), retry + "retryableStatusCodes[0]", ""},
		{policyOf(`"retryableStatusCodes": [14, "OK"]`), retry + "retryableStatusCodes[1]", laxer},
		{policyOf(`"maxAttempts": 3, "maxAttempts": 4`), retry + "maxAttempts", laxer},
		{`{"methodConfig": [{"name": [{}], "retryPolicy": {}, "hedgingPolicy": {}}]}`, "methodConfig[0]", ""},
		{`{"methodConfig": [{"name": [{}], "hedgingPolicy": {"maxAttempts": 1}}]}`,
			"methodConfig[0].hedgingPolicy.maxAttempts", laxer},
		{`{"methodConfig": [{"name": [{"method": "Get"}]}]}`, name, ""},
		{`{"methodConfig": [{"name": [{"service": "a.B/C"}]}]}`, name, laxer},
		{`{"methodConfig": [{"name": [{"service": "a.B"}, {"service": "a.B"}]}]}`, "methodConfig[0].name[1]", ""},
		{`{"methodConfig": [{"name": [{"service": "grpc.health.v1.Health", "method": "Chek"}]}]}`, name + ".method", laxer},
		{`{"methodConfig": [{"name": [{}], "timeout": "0s"}]}`, "methodConfig[0].timeout", laxer},
		{throttleOf("0", "0.1"), "retryThrottling.maxTokens", ""},
		{throttleOf("1001", "0.1"), "retryThrottling.maxTokens", ""},
		{throttleOf("10", "0"), "retryThrottling.tokenRatio", ""},
		{throttleOf(`"10"`, "0.1"), "retryThrottling.maxTokens", ""},
	} {
		_, err := ParseServiceConfig(test.text, host)
		var refused *policy.Error
		if !errors.As(err, &refused) || !slices.ContainsFunc(refused.Problems,
			func(p policy.Problem) bool { return p.Path == test.path }) {
			t.Errorf("%s: %v, want a problem at %q", test.text, err, test.path)
		}
		conn, err := grpc.NewClient("passthrough:///x", grpc.WithDefaultServiceConfig(test.text),
			grpc.WithTransportCredentials(insecure.NewCredentials()))
		if conn != nil {
			conn.Close()
		}
		if (err == nil) != (test.note == laxer) {
			t.Errorf("%s: grpc-go says %v", test.text, err)
		}
	}
}

func TestServiceConfigNeedsAHost(t *testing.T) {
	for _, text := range []string{`{"methodConfig": [{"name": [{}]}]}`, throttleOf("10", "0.1")} {
		if _, err := ParseServiceConfig(text, ""); err == nil {
			t.Errorf("%s without a host is taken", text)
		}
	}
	if _, err := ParseServiceConfig(policyOf(""), ""); err != nil {
		t.Error(err)
	}
	if _, err := ParseServiceConfig(policyOf(""), "https://shop.example.com/"); err == nil {
		t.Error("a URL is taken for a host")
	}
}

const whole = `{
 "loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": "shop"}, "extra": 1,
 "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.0509},
 "methodConfig": [
  {"name": [{"service": "grpc.health.v1.Health", "method": "Check"}], "waitForReady": true},
  {"name": [{"service": "grpc.health.v1.Health"}, {"service": "shop.Stok", "method": "Get"}], "timeout": "1.5s",
   "retryPolicy": {"maxAttempts": 9, "initialBackoff": "2s", "maxBackoff": "1s", "backoffMultiplier": 0.5,
    "retryableStatusCodes": ["unavailable", 8]}},
  {"name": [{}], "timeout": "0.001s", "maxRequestMessageBytes": 100,
   "hedgingPolicy": {"maxAttempts": 4, "hedgingDelay": "0s", "nonFatalStatusCodes": ["UNAVAILABLE"]}},
  {"timeout": "1s"}]}`

// All that a config says is a rule, the channel's, or a difference.
func TestServiceConfigBecomesRules(t *testing.T) {
	sc, err := ParseServiceConfig(whole, host)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := json.Marshal(sc.Rules)
	config, err2 := policy.Document{Rules: sc.Rules}.MarshalJSON()
	if err != nil || err2 != nil {
		t.Fatal(err, err2, rules)
	}
	want := `{"schema":1,"rules":[` +
		`{"match":{"host":"shop.example.com"},"call":{"timeout":"0.01s","retryPolicy":{"maxAttempts":4,` +
		`"initialBackoff":"0.25s","maxBackoff":"5s","backoffMultiplier":2,"jitter":"full",` +
		`"retryableStatusCodes":["UNAVAILABLE"]}}},` +
		`{"match":{"host":"shop.example.com"},"target":{"retryBudget":{"ratio":0.05}}},` +
		`{"match":{"host":"shop.example.com","grpcMethod":"/grpc.health.v1.Health/"},"call":{"timeout":"1.5s",` +
		`"retryPolicy":{"maxAttempts":5,"initialBackoff":"1s","maxBackoff":"1s","backoffMultiplier":1,"jitter":"equal",` +
		`"retryableStatusCodes":["UNAVAILABLE","RESOURCE_EXHAUSTED"]}}},` +
		`{"match":{"host":"shop.example.com","grpcMethod":"/grpc.health.v1.Health/Check"},` +
		`"call":{"timeout":"0s","retryPolicy":{"maxAttempts":1}}},` +
		`{"match":{"host":"shop.example.com","grpcMethod":"/shop.Stok/Get"},"call":{"timeout":"1.5s",` +
		`"retryPolicy":{"maxAttempts":5,"initialBackoff":"1s","maxBackoff":"1s","backoffMultiplier":1,"jitter":"equal",` +
		`"retryableStatusCodes":["UNAVAILABLE","RESOURCE_EXHAUSTED"]}}}]}`
	if string(config) != want {
		t.Errorf("the rules are\n%s\nwant\n%s", config, want)
	}
	wantChannel := `{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": "shop"},
	 "methodConfig": [{"name": [{"service": "grpc.health.v1.Health", "method": "Check"}], "waitForReady": true},
	  {"name": [{"service": "grpc.health.v1.Health"}, {"service": "shop.Stok", "method": "Get"}], "timeout": "1.5s"},
	  {"name": [{}], "timeout": "0.001s", "maxRequestMessageBytes": 100}, {"timeout": "1s"}]}`
	if !sameJSON(sc.Channel, wantChannel) {
		t.Errorf("the channel has\n%s", sc.Channel)
	}
	var paths []string
	for _, d := range sc.Differences {
		paths = append(paths, d.Path)
	}
	slices.Sort(paths)
	wantPaths := []string{"extra", "methodConfig[1]", "methodConfig[1].name[1].service",
		"methodConfig[1].retryPolicy.backoffMultiplier", "methodConfig[1].retryPolicy.maxAttempts",
		"methodConfig[1].retryPolicy.retryableStatusCodes[1]", "methodConfig[2]", "methodConfig[2].hedgingPolicy",
		"methodConfig[2].timeout", "methodConfig[3].name", "retryThrottling"}
	if !slices.Equal(paths, wantPaths) {
		t.Errorf("differences at %q", paths)
	}
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

func TestServiceConfigCheck(t *testing.T) {
	sc, err := ParseServiceConfig(`{"methodConfig": [{"name": [{"service": "grpc.health.v1.Heath"}, {}]}]}`, host)
	if err != nil {
		t.Fatal(err)
	}
	if err := sc.Check(&healthpb.Health_ServiceDesc); err == nil || !strings.Contains(err.Error(), "Heath") {
		t.Errorf("a mis-spelt service: %v", err)
	}
	generic := grpc.ServiceDesc{ServiceName: "shop.Stock", Methods: []grpc.MethodDesc{{MethodName: "Get"}},
		Streams: []grpc.StreamDesc{{StreamName: "Follow"}}}
	for method, good := range map[string]bool{"Get": true, "Follow": true, "": true, "Gte": false} {
		sc, err := ParseServiceConfig(`{"methodConfig": [{"name": [{"service": "shop.Stock", "method": "`+method+`"}]}]}`, host)
		if err != nil {
			t.Fatal(err)
		}
		if err := sc.Check(&generic); (err == nil) != good {
			t.Errorf("%q: %v", method, err)
		}
	}
}

// The code decides as the config says, whatever the code: a method that is idempotent is repeated for the
// codes that are listed, and for no other.
func TestServiceConfigCodes(t *testing.T) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		for listed := codes.Canceled; listed <= codes.Unauthenticated; listed++ {
			if listed != code && listed != code%16+1 {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				sc, err := ParseServiceConfig(policyOf(fmt.Sprintf(`"retryableStatusCodes": [%d]`, listed)), host)
				if err != nil {
					t.Fatal(err)
				}
				b := &backend{check: func(context.Context, int) error { return status.Error(code, "no") }}
				opts := idempotent
				opts.ServiceConfig = sc.Channel
				c := b.client(t, newEngine(t, policy.Document{Rules: sc.Rules}, twoSaved), opts)
				err = check(within(t, time.Minute), c)
				want := 1
				if listed == code && code != codes.ResourceExhausted { // which names no wait
					want = 3
				}
				if n := len(b.visits()); status.Code(err) != code || n != want {
					t.Errorf("%v of %v: %d visits, want %d: %v", listed, code, n, want, err)
				}
			})
		}
	}
}

// As in gRPC the timeout bounds all attempts together, for unary calls, and a narrower entry without one has none.
func TestServiceConfigTimeout(t *testing.T) {
	const text = `{"methodConfig": [{"name": [{"service": "grpc.health.v1.Health"}], "timeout": "2s",
	 "retryPolicy": {"maxAttempts": 5, "initialBackoff": "1s", "maxBackoff": "1s", "backoffMultiplier": 1,
	 "retryableStatusCodes": ["DEADLINE_EXCEEDED", "UNAVAILABLE"]}}]}`
	synctest.Test(t, func(t *testing.T) {
		sc, err := ParseServiceConfig(text, host)
		if err != nil {
			t.Fatal(err)
		}
		b := &backend{check: func(ctx context.Context, n int) error {
			if n == 1 {
				return status.Error(codes.Unavailable, "")
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		opts := idempotent
		opts.ServiceConfig = sc.Channel
		c := b.client(t, newEngine(t, policy.Document{Rules: sc.Rules}, twoSaved), opts)
		began := time.Now()
		err = check(within(t, time.Minute), c)
		if took := time.Since(began); took != 2*time.Second || status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// Of the entries that name a method the narrowest counts, and nothing of the wider ones.
func TestServiceConfigNarrowest(t *testing.T) {
	const repeats = `"retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "1s",
	 "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}`
	const text = `{"methodConfig": [{"name": [{"service": "grpc.health.v1.Health", "method": "Check"}]},
	 {"name": [{"service": "grpc.health.v1.Health"}], "timeout": "20s", ` + repeats + `},
	 {"name": [{}], "timeout": "0.01s"}]}`
	for watch, want := range map[bool]int{false: 1, true: 3} {
		synctest.Test(t, func(t *testing.T) {
			sc, err := ParseServiceConfig(text, host)
			if err != nil {
				t.Fatal(err)
			}
			b := &backend{check: func(context.Context, int) error { time.Sleep(30 * time.Second); return unavailable },
				watch: func(int, watchServer) error { return unavailable }}
			opts := idempotent
			opts.ServiceConfig = sc.Channel
			c := b.client(t, newEngine(t, policy.Document{Rules: sc.Rules}, twoSaved), opts)
			if watch {
				_, err = receive(c.Watch(within(t, time.Minute), nil))
			} else {
				err = check(within(t, time.Minute), c)
			}
			if n := len(b.visits()); status.Code(err) != codes.Unavailable || n != want {
				t.Errorf("watch %v: %d visits, want %d: %v", watch, n, want, err)
			}
		})
	}
}

// TestManyNames: a text that names more than can be rules is refused before it costs much.
func TestManyNames(t *testing.T) {
	var names []string
	for i := range 20_000 {
		names = append(names, fmt.Sprintf(`{"service": "s%d"}`, i))
	}
	config, err := ParseServiceConfig(`{"methodConfig": [{"name": [`+strings.Join(names, ",")+`]}]}`, "a.example")
	var refused *policy.Error
	if !errors.As(err, &refused) || refused.Problems[0].Path != "methodConfig[0].name" || len(config.Rules) > 0 {
		t.Errorf("%d rules, %v", len(config.Rules), err)
	}
	if _, err := ParseServiceConfig(`{"methodConfig": [{"name": [`+strings.Join(names[:1000], ",")+`]}]}`, "a.example"); err != nil {
		t.Error(err)
	}
}

func FuzzParseServiceConfig(f *testing.F) {
	f.Add(whole, host)
	f.Add(policyOf(""), "")
	f.Add(throttleOf("2", "3"), host)
	f.Fuzz(func(t *testing.T, text, host string) {
		sc, err := ParseServiceConfig(text, host)
		if err != nil {
			return
		}
		if err := (policy.Document{Rules: sc.Rules}).Validate(); err != nil {
			t.Errorf("the rules are refused: %v", err)
		}
		if err := checkServiceConfig(sc.Channel); err != nil {
			t.Errorf("the channel's part is refused: %v", err)
		}
	})
}
