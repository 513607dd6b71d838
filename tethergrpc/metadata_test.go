package tethergrpc

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/policy"
)

const criticalityKey = "x-criticality"

// What a call's criticality is, is what the server hears, unary calls and streams, on each attempt; and what
// the server's own calls inherit.
func TestCriticalityIsTold(t *testing.T) {
	for _, test := range []struct {
		name   string
		header string // of the engine
		own    criticality.Level
		md     []string // the caller's own, in that key
		told   []string
		heard  criticality.Level
	}{
		{"critical", "X-Criticality", criticality.Critical, nil, []string{"critical"}, criticality.Critical},
		{"sheddable", "X-Criticality", criticality.Sheddable, nil, []string{"sheddable"}, criticality.Sheddable},
		{"default is absence", "X-Criticality", criticality.Default, nil, nil, criticality.Default},
		{"replaced", "X-Criticality", criticality.Sheddable, []string{"critical"}, []string{"sheddable"}, criticality.Sheddable},
		{"taken away", "X-Criticality", criticality.Default, []string{"critical"}, nil, criticality.Default},
		{"not asked for", "", criticality.Critical, nil, nil, criticality.Default},
		{"not asked for, the caller's own", "", criticality.Critical, []string{"SHEDDABLE"}, []string{"SHEDDABLE"}, criticality.Sheddable},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var heard []criticality.Level
				once := func(ctx context.Context, n int) error {
					heard = append(heard, criticality.From(ctx))
					if n == 1 || n == 3 {
						return unavailable
					}
					return nil
				}
				b := &backend{check: once, watch: func(n int, s watchServer) error { return once(s.Context(), n) }}
				reads, err := ReadCriticality("X-Criticality")
				if err != nil {
					t.Fatal(err)
				}
				opts := twoSaved
				opts.CriticalityHeader = test.header
				options, err := DialOptions(newEngine(t, policy.Document{}, opts), idempotent)
				if err != nil {
					t.Fatal(err)
				}
				c := newClient(b.serve(t, reads...).channel(t, options...))
				ctx := criticality.With(within(t, time.Minute), test.own)
				for _, value := range test.md {
					ctx = metadata.AppendToOutgoingContext(ctx, criticalityKey, value)
				}
				if err := check(ctx, c); err != nil {
					t.Fatal(err)
				}
				if _, err := receive(c.Watch(ctx, nil)); err != nil {
					t.Fatal(err)
				}
				visits := b.visits()
				if len(visits) != 4 {
					t.Fatalf("%d visits", len(visits))
				}
				for i, v := range visits {
					if !slices.Equal(v.md[criticalityKey], test.told) || heard[i] != test.heard {
						t.Errorf("visit %d was told %q and heard %v", i, v.md[criticalityKey], heard[i])
					}
				}
			})
		})
	}
}

// The document lowers a call, and the server is told of what it goes by.
func TestCriticalityOfTheConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		cfg := policy.Document{Rules: []policy.Rule{{Match: policy.Match{GRPCMethod: checkMethod},
			Call: policy.CallSettings{Criticality: policy.Ptr(criticality.Sheddable)}}}}
		c := b.client(t, newEngine(t, cfg, tether.Options{CriticalityHeader: criticalityKey}), Options{})
		check(criticality.With(within(t, time.Minute), criticality.Critical), c)
		if told := b.visits()[0].md[criticalityKey]; !slices.Equal(told, []string{"sheddable"}) {
			t.Errorf("told %q", told)
		}
	})
}

func TestCriticalityKeys(t *testing.T) {
	for key, good := range map[string]bool{"x-c": true, "X.C_1": true, "": false, "x-c-bin": false, "grpc-c": false,
		"x c": false, "x!c": false} {
		if _, err := ReadCriticality(key); (err == nil) != good {
			t.Errorf("%q: %v", key, err)
		}
	}
	engine := newEngine(t, policy.Document{}, tether.Options{CriticalityHeader: "x!c"})
	if _, err := DialOptions(engine, Options{}); err == nil {
		t.Error("an engine's header that can't be a key is taken")
	}
}

// Answers tell of a newer document: good ones, failures that have a header, and streams.
func TestNudge(t *testing.T) {
	field := metadata.Pairs("tether-config", `"shop";v=42`)
	for _, test := range []struct {
		name  string
		host  string // whose word counts
		md    metadata.MD
		fails bool
		watch bool
		heard uint64
	}{
		{"unary", "shop.example.com", field, false, false, 42},
		{"with its port", "shop.example.com:443", field, false, false, 42},
		{"a failure", "shop.example.com", field, true, false, 42},
		{"a stream", "shop.example.com", field, false, true, 42},
		{"a stream that fails", "shop.example.com", field, true, true, 42},
		{"another host's word", "other.example.com", field, false, false, 0},
		{"another document", "shop.example.com", metadata.Pairs("tether-config", `"other";v=42`), false, false, 0},
		{"twice", "shop.example.com", metadata.Join(field, field), false, false, 0},
		{"nothing", "shop.example.com", nil, false, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var fail error
				if test.fails {
					fail = status.Error(codes.FailedPrecondition, "")
				}
				b := &backend{check: func(ctx context.Context, _ int) error { grpc.SetHeader(ctx, test.md); return fail },
					watch: func(_ int, s watchServer) error {
						if s.SendHeader(test.md); fail != nil {
							return fail
						}
						return s.Send(&healthpb.HealthCheckResponse{})
					}}
				engine := newEngine(t, policy.Document{}, tether.Options{})
				document := `{"schema":1,"document":"shop","version":41,"nudge":["` + test.host + `"]}`
				if _, err := engine.Apply([]byte(document)); err != nil {
					t.Fatal(err)
				}
				c := b.client(t, engine, Options{})
				if test.watch {
					receive(c.Watch(within(t, time.Minute), nil))
				} else {
					check(within(t, time.Minute), c)
				}
				if version, _ := engine.Newer(); version != test.heard {
					t.Errorf("heard of %d, want %d", version, test.heard)
				}
			})
		})
	}
}
