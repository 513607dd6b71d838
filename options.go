package tether

import (
	"errors"
	"fmt"
	"maps"
	"net/http"

	"go.opentelemetry.io/otel/metric"

	"github.com/tether-go/tether/internal/httpwire"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/hint"
)

// Options are what only code can set: nothing in here ever comes from a document.
type Options struct {
	// Policy is the application's own document: what holds while no published document says otherwise, and what a
	// published one may not loosen. Default the zero Document, which turns every protection on.
	Policy policy.Document
	// Bounds are the compiled-in ceilings of what a document may loosen. The zero value lets no document
	// be looser than Policy.
	Bounds policy.Bounds
	// Audience is who this application is, such as {"environment": "production"}. A document is taken
	// only if every member of its audience has the same value here; one without an audience is for
	// everybody. Default nobody in particular.
	Audience map[string]string
	// ClientID is who this client is to the document's stages: the same whenever it starts, and another for each
	// client, such as a random number that was stored at installation. It is only hashed, never sent. Default
	// one at random, which a watcher of package remoteconfig with a cache keeps; without a cache it is
	// another one in each process, and stages are then not sticky.
	ClientID string
	// Cohort has what stages may ask for, such as {"platform": "android"}. Default nothing: no stage with
	// a cohort applies.
	Cohort map[string]string
	// Seed makes every random choice repeatable, for tests. Default 0: seeded by the operating system.
	// Never ship clients that share a seed: they would act in step.
	Seed uint64
	// InitialRetries is how many re-attempts a target starts with, 0 to 2. Default 1 (nil): few, because
	// a launch is a million clients that all start at once.
	InitialRetries *int
	// Budgets lets engines that were given the same one share their retry budgets. Each keeps its own ratio; a
	// target starts with the InitialRetries of the engine that called it first. Default nil: an engine has
	// budgets of its own.
	Budgets *Budgets
	// Partition names whom a 429 covers: requests of one partition are held together, others go on.
	// Default: the part of the Authorization header that stays the same from request to request, kept only as a keyed
	// hash: of SigV4, SharedKey, OAuth 1, Hawk, Digest and HTTP signatures the caller's name, of other schemes the whole
	// value. Set it for a scheme of your own that signs each request.
	Partition func(*http.Request) string
	// HintProfiles says, by host (with the port where it isn't the scheme's default), how to read hints
	// whose values alone don't tell. Default: every server's by size and form.
	HintProfiles map[string]hint.Profile
	// MaxTargets caps the servers whose state is kept; beyond it the longest idle is forgotten, and
	// what can't be forgotten yet is shared. Default 1,000.
	MaxTargets int
	// AttemptHeader names a request header field in which the server is told how many attempts of the call
	// came before: "1" on the second attempt, and so on. It is absent on the first, as in most calls, and
	// replaces what the caller's request has there. Servers that shed load can refuse re-attempts first
	// (SRE book, chapter 21). Default "": nothing is sent.
	AttemptHeader string
	// CriticalityHeader names a request header field in which the server is told "critical" or "sheddable",
	// as [criticality.With] and the configuration say; [criticality.Handler] reads it there. It is absent where
	// the call is Default, and replaces what the caller's request has there. Default "": nothing is sent.
	CriticalityHeader string
	// BufferBodies is how many bytes of a request's body are kept while its call is under way, so that a
	// body without GetBody can be sent again, from 0 to 1 MiB. Nothing is read ahead: what an attempt sends
	// is kept as it goes by. A body that the request tells to be longer is left alone; one that turns out
	// to be longer is let go of, and goes on as a stream that has its one attempt. What may be repeated
	// at all is another question, which it doesn't change. Default 0: nothing is ever kept.
	BufferBodies int64
	// MeterProvider is where metrics go. Default: OpenTelemetry's global one, which does nothing until an
	// application sets it. Retries and refusals are events on the span that a call's context has.
	MeterProvider metric.MeterProvider
	// Observe is told of every refusal, long wait, retry, hold, change of a breaker and change of the
	// configuration: in order, outside every lock, by whichever call finds nobody telling. A slow
	// Observe holds up one call at a time; what more than 1,000 waiting events would be is dropped and
	// counted. It may call the engine.
	Observe func(Event)
}

func (o Options) validate() error {
	problems := []error{o.Policy.Validate()}
	if n := o.InitialRetries; n != nil && (*n < 0 || *n > 2) {
		problems = append(problems, fmt.Errorf("tether: InitialRetries is %d, not from 0 to 2", *n))
	}
	if o.MaxTargets < 0 {
		problems = append(problems, fmt.Errorf("tether: MaxTargets is negative: %d", o.MaxTargets))
	}
	if o.AttemptHeader != "" && !httpwire.IsToken(o.AttemptHeader) {
		problems = append(problems, fmt.Errorf("tether: AttemptHeader is %q, no name of a field", o.AttemptHeader))
	}
	if o.CriticalityHeader != "" && !httpwire.IsToken(o.CriticalityHeader) {
		problems = append(problems, fmt.Errorf("tether: CriticalityHeader is %q, no name of a field", o.CriticalityHeader))
	}
	for host, profile := range o.HintProfiles {
		if err := profile.Validate(); err != nil {
			problems = append(problems, fmt.Errorf("tether: HintProfiles[%q]: %w", host, err))
		}
	}
	if n := o.BufferBodies; n < 0 || n > httpwire.MaxBufferBodies {
		problems = append(problems, fmt.Errorf("tether: BufferBodies is %d, not from 0 to %d", n, httpwire.MaxBufferBodies))
	}
	problems = append(problems, o.Bounds.Validate())
	return errors.Join(problems...)
}

func (o Options) withDefaults() Options {
	o.Audience = maps.Clone(o.Audience)
	o.Cohort = maps.Clone(o.Cohort)
	profiles := make(map[string]hint.Profile, len(o.HintProfiles))
	for host, profile := range o.HintProfiles {
		_, host = policy.OriginOf("", host)
		profiles[host] = profile
	}
	o.HintProfiles = profiles
	if o.InitialRetries == nil {
		o.InitialRetries = policy.Ptr(1)
	}
	if o.MaxTargets == 0 {
		o.MaxTargets = 1000
	}
	return o
}
