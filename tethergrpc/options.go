package tethergrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/tether-go/tether"
)

// Options are what only code can set. The zero value is the documented default.
type Options struct {
	// Idempotent names methods that may be repeated although the server may have done their work:
	// "/shop.Stock/Get", or "/shop.Stock/" for all of a service. Methods whose descriptor is linked
	// in and has an idempotency_level are known without it; [tether.WithCall] says it of one call.
	// Default none.
	// A method that a service whose descriptor is linked in doesn't have is an error.
	Idempotent []string
	// ShareWithHTTP is "https" or "http" where gRPC and HTTP calls to one host and port are to
	// share what is learnt, whatever their service. Default "": each service of a target learns
	// apart.
	ShareWithHTTP string
	// Partition names whom a RESOURCE_EXHAUSTED covers: calls of one partition are held together.
	// It must be safe for concurrent use. Default: the "authorization" of the outgoing metadata,
	// kept only as a keyed hash; what per-RPC credentials add comes after it and isn't seen.
	Partition func(context.Context) string
	// ServiceConfig is the channel's default service config, in JSON; it is for DialOptions only.
	// One with a retryPolicy or hedgingPolicy is an error, because tether repeats; [ParseServiceConfig]
	// makes rules of these and leaves the rest. Default none.
	ServiceConfig string
	// ChannelRetriesOff says of interceptors that are used without DialOptions that their channel
	// was made with grpc.WithDisableRetry. Where it isn't said, calls to methods with a retryPolicy
	// have one attempt.
	ChannelRetriesOff bool
}

// edge is what the interceptors of one channel, or several, share.
type edge struct {
	engine    *tether.Engine
	opts      Options
	partition func(context.Context) string
	targets   memo[string, target]
	calls     memo[names, *known]
	last      atomic.Pointer[known] // of calls, which most clients make again
	told      once                  // that a channel has a retryPolicy
	// criticality is the key of metadata in which servers are told of it; "": they aren't.
	criticality string
}

func newEdge(engine *tether.Engine, opts Options) (*edge, error) {
	if engine == nil {
		return nil, errors.New("tethergrpc: no engine")
	}
	if err := opts.validate(); err != nil {
		return nil, err
	}
	key, err := metadataKey(engine.CriticalityHeader())
	if err != nil {
		return nil, err
	}
	opts.Idempotent = slices.Clone(opts.Idempotent)
	e := &edge{engine: engine, opts: opts, partition: opts.Partition, criticality: key}
	if e.partition == nil {
		e.partition = authorization
	}
	return e, nil
}

func (o Options) validate() error {
	var problems []error
	for _, name := range o.Idempotent {
		service, method, ok := strings.Cut(strings.TrimPrefix(name, "/"), "/")
		if method != "" && misspelt(service, method) {
			problems = append(problems, fmt.Errorf("tethergrpc: Idempotent has %q, but %s has no such method",
				name, service))
		}
		if !strings.HasPrefix(name, "/") || !ok || service == "" || strings.ContainsAny(name, "* ") {
			problems = append(problems, fmt.Errorf("tethergrpc: Idempotent has %q, not the form "+
				`"/package.Service/Method" or "/package.Service/"`, name))
		}
	}
	if s := o.ShareWithHTTP; s != "" && s != "https" && s != "http" {
		problems = append(problems, fmt.Errorf(`tethergrpc: ShareWithHTTP is %q, not "https" or "http"`, s))
	}
	if o.ServiceConfig != "" {
		problems = append(problems, checkServiceConfig(o.ServiceConfig))
	}
	return errors.Join(problems...)
}

// checkServiceConfig refuses a service config whose retries would multiply with tether's. grpc-go
// checks the rest of it.
func checkServiceConfig(text string) error {
	var config struct {
		MethodConfig []struct {
			Name        []struct{ Service, Method string }
			RetryPolicy json.RawMessage
			Hedging     json.RawMessage `json:"hedgingPolicy"`
		}
	}
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return fmt.Errorf("tethergrpc: ServiceConfig: %w", err)
	}
	var problems []error
	for _, m := range config.MethodConfig {
		if m.RetryPolicy == nil && m.Hedging == nil {
			continue
		}
		problems = append(problems, fmt.Errorf("tethergrpc: ServiceConfig has a retryPolicy or hedgingPolicy "+
			"for %v: tether repeats, and two loops would multiply; ParseServiceConfig makes rules of it", m.Name))
	}
	return errors.Join(problems...)
}

// DialOptions returns what a channel needs for calls to go through engine: both interceptors,
// inside of those that were given before, and grpc-go's own policy retries off, so that two loops
// never multiply. Its transparent retries, of what never left or was not processed, stay on. A
// service config from the name resolver stays in force but for its retryPolicy; that one has is
// reported as an event when a call fails.
func DialOptions(engine *tether.Engine, opts Options) ([]grpc.DialOption, error) {
	opts.ChannelRetriesOff = true
	e, err := newEdge(engine, opts)
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{grpc.WithDisableRetry(),
		grpc.WithChainUnaryInterceptor(e.unary), grpc.WithChainStreamInterceptor(e.stream)}
	if opts.ServiceConfig != "" {
		options = append(options, grpc.WithDefaultServiceConfig(opts.ServiceConfig))
	}
	return options, nil
}

// UnaryClientInterceptor returns the interceptor of unary calls alone. [DialOptions] also turns off
// the channel's retries; here that is the caller's to do and to say ([Options].ChannelRetriesOff).
func UnaryClientInterceptor(engine *tether.Engine, opts Options) (grpc.UnaryClientInterceptor, error) {
	e, err := newEdge(engine, opts)
	if err != nil {
		return nil, err
	}
	return e.unary, nil
}

// StreamClientInterceptor returns the interceptor of streams alone; see [UnaryClientInterceptor].
func StreamClientInterceptor(engine *tether.Engine, opts Options) (grpc.StreamClientInterceptor, error) {
	e, err := newEdge(engine, opts)
	if err != nil {
		return nil, err
	}
	return e.stream, nil
}

// stacked tells whether the channel itself repeats calls of the method: then a failure is final for
// us. The service config may come from a name resolver at any time, so it is asked for when a call
// has failed.
func (e *edge) stacked(cc *grpc.ClientConn, method string) bool {
	if cc.GetMethodConfig(method).RetryPolicy == nil {
		return false
	}
	stacked := !e.opts.ChannelRetriesOff
	if e.told.first() {
		note := "the service config's retryPolicy for " + method + " is not in force: tether repeats"
		if stacked {
			note = "the channel repeats " + method + " by its service config's retryPolicy: tether makes one attempt"
		}
		_, host := e.targetOf(cc)
		e.engine.Report(tether.Event{Kind: tether.EventNote, Target: host, Note: note})
	}
	return stacked
}
