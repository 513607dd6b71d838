package tether

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tether-go/tether/internal/metrics"
	"github.com/tether-go/tether/internal/target"

	"github.com/tether-go/tether/internal/clock"
	"github.com/tether-go/tether/policy"

	"go.opentelemetry.io/otel/attribute"

	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/internal/eventqueue"
	"github.com/tether-go/tether/internal/random"
	"github.com/tether-go/tether/retry"
)

// Engine decides for every attempt whether, when and how hard, by what earlier ones have taught. One
// engine may serve any number of clients and connections: they share what it learns. It does no I/O,
// runs no goroutine and needs no closing. It is safe for concurrent use.
type Engine struct {
	opts         Options
	local        policy.Document // the application's own, which bounds what a document may loosen
	localFlags   *flags.Set      // of local
	rand         func() float64  // the one source of randomness
	hashSeed     maphash.Seed
	events       *eventqueue.Queue[Event]
	config       atomic.Pointer[current]
	flags        *flags.Store // of config
	flagsChanged func()       // tells the listeners of flags
	applying     sync.Mutex   // held while a document replaces another; guards what follows up to told
	client       client
	clientID     atomic.Pointer[string] // of client, for those who don't hold applying
	latched      []string               // stages that were rolled back
	refused      []refusal              // the newest last
	told         [sha256.Size]byte      // of the last refused document and why: told once
	targets      target.Table
	clock        *clock.Clock
	nudges       nudges
	routes       routeGuards

	telemetry *metrics.Set
	tally     flags.Tally // what telemetry tells of flags
}

// New returns an engine. The zero Options turn every protection on. An error is a *[policy.Error], or says which option
// is impossible.
func New(opts Options) (*Engine, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	e := &Engine{opts: opts.withDefaults(), local: opts.Policy, rand: random.New(opts.Seed).Float64, hashSeed: maphash.MakeSeed()}
	e.clock = clock.New()
	e.events = eventqueue.New(1000, opts.Observe)
	e.client = newClient(e.opts)
	id := e.client.id
	e.clientID.Store(&id)
	own, _ := opts.Policy.FlagSet(&e.tally) // Validate has told its problems
	e.config.Store(&current{Compiled: policy.Compile(opts.Policy, policy.Document{}, opts.Bounds), flags: own, plain: own, serial: 1, since: time.Now(),
		replaced: make(chan struct{})})
	e.localFlags = own
	e.flags, e.flagsChanged = flags.Follow(func() *flags.Set { return e.config.Load().flags }, e.turnedOff)
	if err := e.measure(opts.MeterProvider); err != nil {
		return nil, fmt.Errorf("tether: %w", err)
	}
	e.targets.ByKey = make(map[target.Key]*target.Target)
	e.targets.Opts = target.Options{
		Clock: e.clock, Rand: e.rand, Seed: e.hashSeed, Most: e.opts.MaxTargets, InitialRetries: *e.opts.InitialRetries,
		Series: e.telemetry.Of,
		BreakerChanged: func(target, note string) { // only queued: locks may be held
			e.note(Event{Kind: EventBreaker, Target: target, Stage: StageBreaker, Note: note})
		},
	}
	if e.opts.Budgets != nil {
		e.targets.Opts.Shared = e.opts.Budgets.of
	}
	return e, nil
}

// run is the whole loop: admission, attempt, outcome, feedback, again. It leaves the last attempt's outcome in
// last, and returns why there was no other: nil after a success. Attempts that aren't HTTP are by's to make. A
// call that has made its first attempt goes on from there.
func (c *call) run(by func(context.Context, *Permit) Outcome, last *Outcome) (reason error) {
	var sent *Permit
	defer func() {
		if sent != nil { // a panic, or runtime.Goexit: that teaches nothing, and what was admitted is given back
			sent.abandon()
		}
		c.finish()
	}()
	for begun := c.attempts > 0; ; begun = false {
		if begun {
			sent = c.permit
			c.takeIn(sent, last)
		} else {
			if refusal := c.admit(); refusal != nil {
				if c.divert(refusal) {
					continue
				}
				c.brake()
				return refusal
			}
			sent = c.permit
			c.send(by, last)
		}
		sent = nil
		if c.turnBack(last) {
			continue
		}
		if c.mayFallBack() {
			*last = c.fallBack(*last)
		}
		if last.served(c.policy) {
			if c.StateNow() != target.Counted {
				c.Target.Budget.SuccessAt(c.idleSince())
			}
			return nil
		}
		delay, reason := c.again(last)
		if reason != nil {
			c.gaveUp(last, reason)
			if last.Class == Ignored && c.Context.Err() == nil {
				c.brake() // no stage learns from it, so none would slow a loop
			}
			return reason
		}
		if c.http != nil {
			c.http.keep()
		}
		c.retrying(last, delay)
		if reason := c.pause(delay); reason != nil {
			return reason
		}
	}
}

// send makes one attempt.
func (c *call) send(by func(context.Context, *Permit) Outcome, out *Outcome) {
	if c.http != nil {
		c.http.attempt(c.permit, out)
	} else {
		c.attempt(by, c.permit, out)
	}
}

// settled tells whom it may concern what an attempt brought.
func (c *call) settled(p *Permit, out *Outcome) {
	if c.Generation != 0 && out.teachesLittle(c.policy) && c.Leave(&p.settled) {
		metrics.Count(c.Context, c.engine.telemetry.Attempts, c.Target.Series.ByOutcome[Healthy])
		return
	}
	c.takeIn(p, out)
}

// takeIn tells the stages and the story what an attempt brought.
func (c *call) takeIn(p *Permit, out *Outcome) {
	c.heedContext(p, out)
	c.record(p, out)
	c.idleAt = c.Sample.Now()
	p.done(out, c.idleSince())
	c.tellTrials(p, p, out)
}

// tellTrials tells those who watch a change what an attempt brought: first is its permit, last that of the hedge
// which outran it, if one did.
func (c *call) tellTrials(first, last *Permit, out *Outcome) {
	if c.trial != nil {
		c.judge(last, *out)
	}
	if c.routing != nil {
		c.learnRoute(first, out)
	}
}

// Do protects anything that is not HTTP or gRPC: queries, queues. It calls fn for each attempt; fn
// says what came of it. fn is called again only where that is safe: what is Idempotent, or an attempt
// that was NotSent or NotProcessed. Do returns nil after a Healthy outcome, else the last attempt's
// error, wrapped in a *[retry.Error] where a repeat was thought of, or a *[RejectedError] if nothing
// was sent. It never hedges: fn may not be safe to run twice at once.
func (e *Engine) Do(ctx context.Context, what Call, fn func(context.Context, *Permit) Outcome) error {
	d := &struct {
		call
		what Call
	}{what: what}
	d.Call, d.replayable = &d.what, true
	d.start(ctx, e)
	return d.conclude(fn, &Outcome{})
}

// conclude runs a call that isn't HTTP and returns what its caller gets.
func (c *call) conclude(by func(context.Context, *Permit) Outcome, last *Outcome) error {
	if reason := c.run(by, last); reason != nil {
		return c.failure(*last, reason)
	}
	return last.Err
}

// attempt makes an attempt that isn't HTTP, and settles and records what it brought.
func (c *call) attempt(by func(context.Context, *Permit) Outcome, p *Permit, out *Outcome) {
	ctx, limit := c.startClock(c.withAttempt(c, p.attempt))
	defer limit.endUnlessHanded()
	*out = by(limit.shown(ctx), p)
	if timeout := limit.stop(); timeout != nil && out.Class != Healthy && c.Context.Err() == nil {
		if out.Class == Ignored {
			out.Class = Transient
		}
		out.Err, out.Code, out.Final = timeout, 0, timeout == ErrCallTimeout
	}
	c.settled(p, out)
}

// failure is what the caller gets when no attempt had an answer to hand over.
func (c *call) failure(last Outcome, reason error) error {
	switch {
	case c.attempts == 0:
		return reason
	case last.Err == nil: // an answer that the caller's function called a failure, and gave no error
		last.Err = errFailed
	case c.attempts == 1 && (errors.Is(reason, retry.ErrFinal) || errors.Is(last.Err, reason)): // it says all
		return last.Err
	}
	return &failedError{&retry.Error{Attempts: c.attempts, Err: last.Err, Reason: reason}, Story{c.tried, reason, c.buffered}}
}

func (c *call) retrying(last *Outcome, delay time.Duration) {
	c.routing.fellBack()
	c.Target.Stats.Retries.Add(1)
	metrics.Count(c.Context, c.engine.telemetry.Retries, c.Target.Series.Plain)
	c.spanEvent("tether.retry", attribute.Float64("tether.delay", delay.Seconds()),
		attribute.String("tether.outcome", last.Class.String()))
	c.engine.emit(Event{Kind: EventRetry, Target: c.Target.Name, Attempt: c.attempts, Wait: delay, Err: last.Err})
}

func (c *call) gaveUp(last *Outcome, reason error) {
	if !errors.Is(reason, retry.ErrFinal) {
		c.engine.emit(Event{Kind: EventGaveUp, Target: c.Target.Name, Attempt: c.attempts, Err: reason})
	}
}

// errFailed stands for the error that a caller's function did not give.
var errFailed = errors.New("tether: the attempt failed")
