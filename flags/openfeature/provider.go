// Package openfeature gives the flags of a tether store to OpenFeature's Go SDK.
//
//	provider, err := openfeature.New(engine.Flags(), openfeature.Options{})
//	if err != nil {
//		return err
//	}
//	err = sdk.SetProviderWithContextAndWait(ctx, provider) // waits for the first document
//	client := sdk.NewClient("checkout")
//	client.Boolean(ctx, "checkout-v2", false, sdk.NewEvaluationContext("user-17", nil))
//
// Pass [Provider.Observe] to the watcher, and the SDK knows as well when the source is away.
//
// The store's own methods give the same answers in a fraction of the time: this is for applications, and
// for libraries, that are written for OpenFeature already.
package openfeature

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	sdk "github.com/open-feature/go-sdk/openfeature"

	"github.com/tether-go/tether/flags"
)

// The SDK looks for these one by one.
var (
	_ sdk.FeatureProvider          = (*Provider)(nil)
	_ sdk.ContextAwareStateHandler = (*Provider)(nil)
	_ sdk.EventHandler             = (*Provider)(nil)
	_ sdk.Tracker                  = (*Provider)(nil)
)

// Options are settings of the program. The zero value is the default.
type Options struct {
	// Wait is how long initialisation waits for the first flags, or for the first document where the
	// watcher's events come to Observe; the context's deadline holds too. Then the provider is in the
	// state ERROR, evaluations give their callers' defaults, and READY follows with the first flags. Default
	// 5 s.
	Wait time.Duration
	// Guards turn boolean flags of the store off in this process, by what [Provider.Track] tells of their paths.
	// At most one a flag. Default none.
	Guards []*flags.Guard
}

// Provider is an OpenFeature provider over a store. It has no goroutine; between initialisation and
// shutdown, which the SDK sees to, it listens to the store. It is safe for concurrent use.
type Provider struct {
	store  *flags.Store
	wait   time.Duration
	guards map[string]*tracked
	events chan sdk.Event // one for life: the SDK asks for it again and again

	mu      sync.Mutex // guards what follows, and sending
	state   sdk.State
	arrived chan struct{} // closed with the first flags or document
	known   bool          // arrived is closed
	stop    func()        // of listening; nil: not initialised
	over    chan struct{} // closed when that ends
}

// New returns a provider of a store's flags. The error is about a missing store, a negative Wait, or guards
// that are nil or of one flag.
func New(store *flags.Store, options Options) (*Provider, error) {
	switch {
	case store == nil:
		return nil, errors.New("openfeature: a provider needs a store")
	case options.Wait < 0:
		return nil, fmt.Errorf("openfeature: Wait is %v, must not be negative", options.Wait)
	case options.Wait == 0:
		options.Wait = 5 * time.Second
	}
	guards := make(map[string]*tracked)
	for _, g := range options.Guards {
		if g == nil || guards[g.Key()] != nil {
			return nil, errors.New("openfeature: a guard is nil, or two are of one flag")
		}
		guards[g.Key()] = &tracked{guard: g, pending: make(map[string]evaluated)}
	}
	return &Provider{store: store, wait: options.Wait, guards: guards, events: make(chan sdk.Event, maxEvents),
		state: sdk.NotReadyState, arrived: make(chan struct{})}, nil
}

// Metadata names the provider "tether".
func (p *Provider) Metadata() sdk.Metadata { return sdk.Metadata{Name: "tether"} }

// Hooks returns none.
func (p *Provider) Hooks() []sdk.Hook { return nil }

// Init is InitWithContext without a deadline of the caller's.
func (p *Provider) Init(evaluationContext sdk.EvaluationContext) error {
	return p.InitWithContext(context.Background(), evaluationContext)
}

// InitWithContext waits for the first flags; see [Options].Wait. A provider may be initialised again, as
// the SDK does for each domain that it is bound to.
func (p *Provider) InitWithContext(ctx context.Context, _ sdk.EvaluationContext) error {
	ctx, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	p.mu.Lock()
	if p.stop == nil {
		p.stop, p.over = p.store.Listen(p.changed), make(chan struct{})
	}
	over := p.over
	if len(p.store.Current().Keys()) > 0 { // asked only now, so that none slip between
		p.arrive()
	}
	p.mu.Unlock()
	err := errShutdown
	select {
	case <-p.arrived:
	case <-over:
	case <-ctx.Done():
		err = fmt.Errorf("openfeature: no flags yet: %w", context.Cause(ctx))
	}
	return p.enter(over, err)
}

var errShutdown = errors.New("openfeature: shut down while it was being initialised")

// enter follows what the SDK makes of an initialisation, which it tells its handlers itself. Once there were flags
// there is no error, but for one that was shut down meanwhile.
func (p *Provider) enter(over chan struct{}, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over != over:
		return errShutdown
	case p.known:
		p.state = sdk.ReadyState
		return nil
	}
	p.state = sdk.ErrorState
	return err
}

// Shutdown ends listening. Evaluations go on.
func (p *Provider) Shutdown() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		p.stop()
		close(p.over)
	}
	p.stop, p.over, p.state = nil, nil, sdk.NotReadyState
}

// ShutdownWithContext is Shutdown, which waits for nothing.
func (p *Provider) ShutdownWithContext(context.Context) error {
	p.Shutdown()
	return nil
}

// BooleanEvaluation evaluates a flag as [flags.Set.BoolDetails] does. One that its guard has turned off is
// false, for the reason DISABLED.
func (p *Provider) BooleanEvaluation(_ context.Context, flag string, fallback bool,
	attributes sdk.FlattenedContext) sdk.BoolResolutionDetail {
	return detail(p.guarded(flag, attributes, p.store.Current().BoolDetails(flags.Attributes(attributes), flag, fallback)))
}

// StringEvaluation evaluates a flag as [flags.Set.StringDetails] does.
func (p *Provider) StringEvaluation(_ context.Context, flag string, fallback string,
	attributes sdk.FlattenedContext) sdk.StringResolutionDetail {
	return detail(p.store.Current().StringDetails(flags.Attributes(attributes), flag, fallback))
}

// FloatEvaluation evaluates a flag as [flags.Set.FloatDetails] does.
func (p *Provider) FloatEvaluation(_ context.Context, flag string, fallback float64,
	attributes sdk.FlattenedContext) sdk.FloatResolutionDetail {
	return detail(p.store.Current().FloatDetails(flags.Attributes(attributes), flag, fallback))
}

// IntEvaluation evaluates a flag as [flags.Set.IntDetails] does: a number that isn't whole is a mismatch.
func (p *Provider) IntEvaluation(_ context.Context, flag string, fallback int64,
	attributes sdk.FlattenedContext) sdk.IntResolutionDetail {
	return detail(p.store.Current().IntDetails(flags.Attributes(attributes), flag, fallback))
}

// ObjectEvaluation evaluates a flag as [flags.Set.ObjectDetails] does. The fallback may be anything; a
// variant of another type than an object is a mismatch.
func (p *Provider) ObjectEvaluation(_ context.Context, flag string, fallback any,
	attributes sdk.FlattenedContext) sdk.InterfaceResolutionDetail {
	d := p.store.Current().ObjectDetails(flags.Attributes(attributes), flag, nil)
	resolved := detail(d)
	value := fallback
	if d.Value != nil { // of a variant, for our own default was nil
		value = d.Value
	}
	return sdk.InterfaceResolutionDetail{Value: value, ProviderResolutionDetail: resolved.ProviderResolutionDetail}
}

// detail says in the SDK's words how a value came about. Reasons and codes are OpenFeature's already.
func detail[T any](d flags.Details[T]) sdk.GenericResolutionDetail[T] {
	resolved := sdk.GenericResolutionDetail[T]{Value: d.Value, ProviderResolutionDetail: sdk.ProviderResolutionDetail{
		Reason: sdk.Reason(d.Reason), Variant: d.Variant}}
	switch d.Code {
	case "":
	case flags.FlagNotFound:
		resolved.ResolutionError = sdk.NewFlagNotFoundResolutionError(d.Message)
	case flags.ParseError:
		resolved.ResolutionError = sdk.NewParseErrorResolutionError(d.Message)
	case flags.TypeMismatch:
		resolved.ResolutionError = sdk.NewTypeMismatchResolutionError(d.Message)
	default:
		resolved.ResolutionError = sdk.NewGeneralResolutionError(d.Message)
	}
	if d.Metadata.Len() > 0 {
		resolved.FlagMetadata = maps.Collect(d.Metadata.All())
	}
	return resolved
}
