package tether_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/ratelimit/pacing"
	"github.com/tether-go/tether/retry"
)

// rpc is a gRPC answer over HTTP: a head, messages, a status with the fields beside it.
type rpc struct {
	form   string // "trailers-only", "trailer", "slow trailer", "message"
	status string // "": none comes
	fields []string
}

func (a rpc) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/grpc+proto")
	prefix := http.TrailerPrefix
	switch a.form {
	case "trailers-only":
		prefix = ""
	case "trailer":
		w.(http.Flusher).Flush()
	case "slow trailer":
		w.(http.Flusher).Flush()
		time.Sleep(time.Second)
	case "message":
		io.WriteString(w, "a message")
		w.(http.Flusher).Flush()
	}
	if a.status != "" {
		w.Header().Set(prefix+"Grpc-Status", a.status)
	}
	for i := 0; i+1 < len(a.fields); i += 2 {
		w.Header().Add(prefix+a.fields[i], a.fields[i+1])
	}
}

// answersRPC answers the n-th call, from 1, and counts them.
func answersRPC(t *testing.T, answer func(n int32) rpc) (_ http.RoundTripper, url string, arrived *atomic.Int32) {
	arrived = new(atomic.Int32)
	transport, url := memnet.ServeH2C(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer(arrived.Add(1)).ServeHTTP(w, r)
	}))
	return transport, url, arrived
}

// callRPC calls as connect-go does, reads the answer to its end and returns its status and its message.
func callRPC(t *testing.T, c *tether.Client, url string, opts tether.CallOptions, fields ...string) (
	status, message string, story tether.Story, err error) {
	t.Helper()
	opts.Explained = true
	ctx := tether.WithCall(t.Context(), opts)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/shop.Stock/Get", strings.NewReader("request"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc+proto")
	for i := 0; i+1 < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := c.Do(req)
	story, _ = tether.Explain(resp, err)
	if err != nil {
		return "", "", story, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	status = resp.Trailer.Get("Grpc-Status")
	if status == "" {
		status = resp.Header.Get("Grpc-Status")
	}
	return status, string(data), story, err
}

// TestGRPCStatusIsHeard: a status that is all there is to an answer decides whether it is repeated, be it in the
// head or in a trailer that follows at once.
func TestGRPCStatusIsHeard(t *testing.T) {
	const pushback = "Grpc-Retry-Pushback-Ms"
	declared := tether.CallOptions{Idempotent: true}
	for _, test := range []struct {
		status   string
		fields   []string
		opts     tether.CallOptions
		attempts int32
		least    time.Duration
		because  error
	}{
		{status: "14", opts: declared, attempts: 2},
		{status: "14", attempts: 1, because: retry.ErrUnsafe},
		{status: "4", opts: declared, attempts: 2},
		{status: "14", fields: []string{"Retry-After", "3"}, opts: declared, attempts: 2, least: 3 * time.Second},
		{status: "14", fields: []string{pushback, "4000", "Retry-After", "3"}, opts: declared,
			attempts: 2, least: 4 * time.Second},
		{status: "14", fields: []string{pushback, "2000", "Retry-After", "3"}, opts: declared,
			attempts: 2, least: 3 * time.Second},
		{status: "14", fields: []string{pushback, "-1"}, opts: declared, attempts: 1, because: retry.ErrForbidden},
		{status: "8", opts: declared, attempts: 1, because: retry.ErrFinal},
		{status: "8", fields: []string{pushback, "4000"}, opts: declared, attempts: 2, least: 4 * time.Second},
		{status: "13", opts: declared, attempts: 1, because: retry.ErrFinal},
		{status: "13", fields: []string{"X-Should-Retry", "true"}, opts: declared, attempts: 2},
		{status: "5", opts: declared, attempts: 1},
		{status: "0", opts: declared, attempts: 1},
		{status: "not a number", opts: declared, attempts: 1, because: retry.ErrFinal},
		{status: "99", opts: declared, attempts: 1, because: retry.ErrFinal},
	} {
		for _, form := range []string{"trailers-only", "trailer"} {
			t.Run(fmt.Sprint(form, " ", test.status, " ", test.fields, " ", test.opts.Idempotent), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					base, url, arrived := answersRPC(t, func(n int32) rpc {
						if n == 1 {
							return rpc{form, test.status, test.fields}
						}
						return rpc{"message", "0", nil}
					})
					began := time.Now()
					status, message, story, err := callRPC(t, client(t, base, tether.Options{}), url, test.opts)
					if err != nil {
						t.Fatal(err)
					}
					wantStatus, wantMessage := test.status, ""
					if test.attempts == 2 {
						wantStatus, wantMessage = "0", "a message"
					}
					if status != wantStatus || message != wantMessage {
						t.Errorf("the caller got status %q and message %q", status, message)
					}
					if n := arrived.Load(); n != test.attempts || !errors.Is(story.NotRepeated, test.because) ||
						(test.because == nil) != (story.NotRepeated == nil) {
						t.Errorf("%d attempts: %v", n, story)
					}
					if took := time.Since(began); took < test.least || took > test.least+3*time.Second {
						t.Errorf("took %v, want %v and some jitter", took, test.least)
					}
				})
			})
		}
	}
}

// TestGRPCStatusesTeach: what a status of the server's own is to the stages, as over gRPC itself.
func TestGRPCStatusesTeach(t *testing.T) {
	for code := 0; code <= 17; code++ {
		want, kind := tether.Healthy, "application/grpc"
		switch code {
		case 14, 8:
			want, kind = tether.Overloaded, "application/grpc-web+proto"
		case 1, 2, 4, 13, 15, 17:
			want, kind = tether.Transient, "application/grpc; charset=utf-8"
		}
		resp := answer(nil, 200, "Content-Type", kind, "Grpc-Status", fmt.Sprint(code))
		out := tether.ClassifyHTTP(resp, nil)
		if out.Class != want || !out.Answered || out.Partitioned != (code == 8) || code < 17 && int(out.Code) != code {
			t.Errorf("%d: %+v", code, out)
		}
		for _, other := range []string{"application/grpcish", "application/json", ""} {
			resp.Header.Set("Content-Type", other)
			if out := tether.ClassifyHTTP(resp, nil); out.Class != tether.Healthy || out.Code != 0 {
				t.Errorf("%q: %+v", other, out)
			}
		}
	}
	resp := answer(nil, 502, "Content-Type", "application/grpc", "Grpc-Status", "0")
	if out := tether.ClassifyHTTP(resp, nil); out.Class != tether.Transient || out.Status != 502 {
		t.Errorf("a proxy's 502: %+v", out)
	}
}

// TestGRPCHoldsWhoIsMeant: UNAVAILABLE with a wait holds every call to the server, RESOURCE_EXHAUSTED those of the
// credential; in the head, at once after it, or at the end of an answer that was being read.
func TestGRPCHoldsWhoIsMeant(t *testing.T) {
	for _, form := range []string{"trailers-only", "trailer", "slow trailer", "message"} {
		for status, others := range map[string]bool{"14": true, "8": false} {
			t.Run(form+" "+status, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					base, url, arrived := answersRPC(t, func(n int32) rpc {
						if n == 1 {
							return rpc{form, status, []string{"Grpc-Retry-Pushback-Ms", "5000"}}
						}
						return rpc{"message", "0", nil}
					})
					c := client(t, base, tether.Options{})
					opts := tether.CallOptions{NoWait: true, Idempotent: true}
					got, _, story, err := callRPC(t, c, url, opts, "Authorization", "a")
					if got != status || err != nil || len(story.Attempts) != 1 {
						t.Fatalf("%q, %v, %v", got, story, err)
					}
					_, _, _, err = callRPC(t, c, url, opts, "Authorization", "a")
					if !errors.Is(err, pacing.ErrHeld) {
						t.Errorf("the same caller: %v", err)
					}
					_, _, _, err = callRPC(t, c, url, opts, "Authorization", "b")
					if errors.Is(err, pacing.ErrHeld) != others {
						t.Errorf("another caller: %v", err)
					}
					n := arrived.Load()
					time.Sleep(8 * time.Second)
					got, message, _, err := callRPC(t, c, url, opts, "Authorization", "a")
					if got != "0" || message == "" || err != nil {
						t.Errorf("afterwards: %q, %q, %v", got, message, err)
					}
					if arrived.Load() != n+1 {
						t.Error("a call was repeated")
					}
				})
			})
		}
	}
}

// TestGRPCLateRefusalIsNotRepeated: a message has been handed over, or the trailer was long in coming. Without a
// wait it teaches nothing more.
func TestGRPCLateRefusalIsNotRepeated(t *testing.T) {
	for _, form := range []string{"slow trailer", "message"} {
		synctest.Test(t, func(t *testing.T) {
			base, url, arrived := answersRPC(t, func(int32) rpc { return rpc{form, "14", nil} })
			c := client(t, base, tether.Options{})
			for range 3 {
				got, _, story, err := callRPC(t, c, url, tether.CallOptions{Idempotent: true})
				if got != "14" || err != nil || len(story.Attempts) != 1 {
					t.Errorf("%s: %q, %v, %v", form, got, story, err)
				}
			}
			if h := c.Engine().Health().Targets[0]; arrived.Load() != 3 || !h.HeldUntil.IsZero() || h.PacedPerSecond > 0 {
				t.Errorf("%s: %d arrived, %+v", form, arrived.Load(), h)
			}
		})
	}
}

// TestGRPCStreamIsNotKeptWaiting: a head whose first message is long in coming is the caller's within 10 ms (law
// 10), since a client may wait for it before it sends more.
func TestGRPCStreamIsNotKeptWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport, url := memnet.ServeH2C(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			http.NewResponseController(w).EnableFullDuplex()
			w.(http.Flusher).Flush()
			first := make([]byte, 100)
			n, _ := r.Body.Read(first)
			w.Write(first[:n])
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		}))
		c := client(t, transport, tether.Options{})
		reader, writer := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/shop.Stock/Watch", reader)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/grpc")
		began := time.Now()
		resp, err := c.Do(req)
		if err != nil || time.Since(began) > 10*time.Millisecond {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		time.Sleep(time.Minute)
		io.WriteString(writer, "hello")
		writer.Close()
		data, err := io.ReadAll(resp.Body)
		if string(data) != "hello" || err != nil || resp.Trailer.Get("Grpc-Status") != "0" {
			t.Errorf("%q, %v, %v", data, err, resp.Trailer)
		}
		resp.Body.Close()
	})
}

// TestGRPCStreamIsGivenUp: a caller that closes a silent stream, or whose context ends, leaves nothing behind.
func TestGRPCStreamIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport, url := memnet.ServeH2C(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}))
		c := client(t, transport, tether.Options{})
		for _, cancels := range []bool{false, true} {
			ctx, cancel := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/shop.Stock/Watch", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/grpc")
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Second, func() {
				if cancels {
					cancel()
				} else {
					resp.Body.Close()
				}
			})
			if _, err := io.ReadAll(resp.Body); err == nil {
				t.Error("the stream had an end")
			}
			resp.Body.Close()
			cancel()
		}
	})
}

// TestGRPCRulesFitCallsOverHTTP: a rule and a kill by grpcMethod fit what is gRPC by its Content-Type, and no other
// call to the same path.
func TestGRPCRulesFitCallsOverHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, url, arrived := answersRPC(t, func(int32) rpc { return rpc{"message", "0", nil} })
		c := client(t, base, tether.Options{})
		if _, err := c.Engine().Apply([]byte(`{"schema":1,"document":"d","version":1,
			"kill":[{"name":"stock","match":{"grpcMethod":"/shop.Stock/"},"until":"2000-01-01T12:00:00Z"}]}`)); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := callRPC(t, c, url, tether.CallOptions{}); !errors.Is(err, tether.ErrKilled) {
			t.Errorf("gRPC: %v", err)
		}
		for path, kind := range map[string]string{
			"/shop.Stock/Get": "application/proto", "/v1/shop.Stock/Get": "application/grpc", "/shop.Stocks/Get": "application/grpc",
		} {
			resp, err := c.Post(url+path, kind, nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		if arrived.Load() != 3 {
			t.Errorf("%d arrived", arrived.Load())
		}
	})
}

// TestGRPCLateHoldIsKept: a "not before" in a trailer holds calls back that ask no stage as long as all is well
// (law 2).
func TestGRPCLateHoldIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport, url, arrived := answersRPC(t, func(n int32) rpc {
			if n == 21 {
				return rpc{"message", "14", []string{"Retry-After", "30"}}
			}
			return rpc{form: "message", status: "0"}
		})
		c := client(t, transport, tether.Options{})
		call := func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/shop.Stock/Get", strings.NewReader("request"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/grpc+proto")
			resp, err := c.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		}
		for range 21 {
			time.Sleep(time.Second)
			if err := call(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		rejected(t, call(tether.WithCall(t.Context(), tether.CallOptions{NoWait: true})))
		if arrived.Load() != 21 {
			t.Errorf("%d calls arrived, want 21", arrived.Load())
		}
	})
}
