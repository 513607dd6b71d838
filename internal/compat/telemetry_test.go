package compat_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func answers(status int) roundTrip {
	return func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Request: req,
			Body: io.NopCloser(strings.NewReader("body"))}, nil
	}
}

// collect returns every point as "name{attributes} value", sorted.
func collect(t *testing.T, reader *metric.ManualReader) (points []string) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	add := func(name string, set attribute.Set, value any) {
		points = append(points, fmt.Sprintf("%s{%s} %v", name, set.Encoded(attribute.DefaultEncoder()), value))
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, p.Count)
				}
			case metricdata.Histogram[int64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, p.Count)
				}
			default:
				t.Errorf("%s is a %T", m.Name, data)
			}
		}
	}
	slices.Sort(points)
	return points
}

func client(t *testing.T, base http.RoundTripper, reader *metric.ManualReader) *tether.Client {
	t.Helper()
	c, err := tether.NewClient(&http.Client{Transport: base}, tether.Options{
		Seed: 1, MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(ctx context.Context, c *tether.Client, url string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return
	}
	if resp, err := c.Do(req); err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

// TestMetrics is the contract: names, attributes and what they count.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		status := 200
		c := client(t, roundTrip(func(req *http.Request) (*http.Response, error) {
			return answers(status)(req)
		}), reader)
		get(t.Context(), c, "http://api.example/secret?token=1")
		status = 500
		get(t.Context(), c, "http://api.example/secret?token=1")
		if _, err := c.Engine().Apply([]byte(`{"schema":1,"document":"d","version":7,
			"kill":[{"name":"all","match":{},"until":"2000-01-02T00:00:00Z"}]}`)); err != nil {
			t.Fatal(err)
		}
		get(t.Context(), c, "http://api.example/secret?token=1")
		time.Sleep(3 * time.Second)
		want := []string{
			"tether.client.attempts{server.address=api.example,tether.outcome=healthy} 1",
			"tether.client.attempts{server.address=api.example,tether.outcome=transient} 2",
			"tether.client.breakers.open{server.address=api.example} 0",
			"tether.client.calls{server.address=api.example} 3",
			"tether.client.refusals{server.address=api.example,tether.stage=kill switch} 1",
			"tether.client.retries{server.address=api.example} 1",
			"tether.config.age{} 3",
			"tether.config.version{} 7",
		}
		if got := collect(t, reader); !slices.Equal(got, want) {
			t.Errorf("metrics are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestHedgeMetrics: what became of hedges that were due.
func TestHedgeMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		base := roundTrip(func(req *http.Request) (*http.Response, error) {
			name := map[bool]string{true: "Hedge", false: "First"}[req.Header.Get("Attempt") != ""]
			wait, err := time.ParseDuration(req.Header.Get(name))
			select {
			case <-time.After(wait):
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
			if err != nil {
				return nil, io.EOF
			}
			return answers(200)(req)
		})
		c, err := tether.NewClient(&http.Client{Transport: base}, tether.Options{Policy: policy.Document{Defaults: policy.Settings{
			Call: policy.CallSettings{RetryPolicy: &policy.RetrySettings{MaxAttempts: policy.Ptr(2)},
				HedgingPolicy: &policy.HedgingSettings{HedgingDelay: policy.Ptr(time.Second)}},
			Target: policy.TargetSettings{RetryBudget: &policy.BudgetSettings{Ratio: policy.Ptr(0.5)}}}}, Seed: 1, AttemptHeader: "Attempt", InitialRetries: policy.Ptr(2),
			MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
		if err != nil {
			t.Fatal(err)
		}
		for _, waits := range [][2]string{{"9s", "1s"}, {"3s", "9s"}, {"4s", "9s"}, {"3s", "9s"}, {"3s", "9s"}} {
			req, _ := http.NewRequest(http.MethodGet, "http://api.example/", nil)
			req.Header.Set("First", waits[0])
			req.Header.Set("Hedge", waits[1])
			if resp, err := c.Do(req); err == nil {
				resp.Body.Close()
			}
		}
		want := []string{
			"tether.client.hedges{server.address=api.example,tether.result=denied} 1",
			"tether.client.hedges{server.address=api.example,tether.result=outrun} 3",
			"tether.client.hedges{server.address=api.example,tether.result=served} 1",
		}
		got := slices.DeleteFunc(collect(t, reader), func(point string) bool { return !strings.HasPrefix(point, "tether.client.hedges") })
		if !slices.Equal(got, want) {
			t.Errorf("metrics are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestSeriesAreBounded: a million hosts are not a million series (here twenty thousand), dead ones with
// open breakers neither.
func TestSeriesAreBounded(t *testing.T) {
	for name, test := range map[string]struct {
		base roundTrip
		most int // series of one target
	}{"alive": {answers(200), 3}, "faulty": {answers(500), 5}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reader := metric.NewManualReader()
				c := client(t, test.base, reader)
				for i := range 20_000 {
					get(t.Context(), c, fmt.Sprintf("http://%d.example", i))
				}
				if n := len(collect(t, reader)); n > test.most*201+2 {
					t.Errorf("%d series", n)
				}
			})
		})
	}
}

// TestSpanEvents: retries and refusals are on the caller's span, without URLs.
func TestSpanEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := tracetest.NewSpanRecorder()
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test")
		c := client(t, answers(500), metric.NewManualReader())
		ctx, span := tracer.Start(t.Context(), "checkout")
		get(ctx, c, "http://api.example/secret")
		if _, err := c.Engine().Apply([]byte(`{"schema":1,"document":"d","version":7,
			"kill":[{"name":"all","match":{},"until":"2000-01-02T00:00:00Z"}]}`)); err != nil {
			t.Fatal(err)
		}
		get(ctx, c, "http://api.example/secret")
		span.End()
		var names []string
		for _, event := range recorder.Ended()[0].Events() {
			names = append(names, event.Name)
			if text := fmt.Sprint(event.Attributes); strings.Contains(text, "secret") {
				t.Errorf("the event shows the path: %s", text)
			}
		}
		if want := []string{"tether.retry", "tether.refused"}; !slices.Equal(names, want) {
			t.Errorf("events are %v, want %v", names, want)
		}
	})
}

// TestResendsOfNetHTTPAreCounted: the connection breaks when its second request has arrived; net/http
// sends that again by itself, and no attempt, retry or budget knows.
func TestResendsOfNetHTTPAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests int
		transport, url := memnet.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requests++; requests == 2 {
				panic(http.ErrAbortHandler)
			}
		}))
		reader := metric.NewManualReader()
		c := client(t, transport, reader)
		get(t.Context(), c, url)
		get(t.Context(), c, url)
		want := []string{
			"tether.client.attempts{server.address=server.test,tether.outcome=healthy} 2",
			"tether.client.resends{server.address=server.test} 1",
		}
		for _, point := range want {
			if got := collect(t, reader); requests != 3 || !slices.Contains(got, point) {
				t.Errorf("%d requests; metrics are\n%s\nwithout %s", requests, strings.Join(got, "\n"), point)
			}
		}
	})
}
