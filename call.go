package tether

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/tether-go/tether/internal/credential"

	"github.com/tether-go/tether/internal/metrics"
	"github.com/tether-go/tether/internal/target"

	"github.com/tether-go/tether/internal/clock"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/internal/priority"
	"github.com/tether-go/tether/ratelimit/hint"
	"github.com/tether-go/tether/retry"
)

// Call describes a call to the engine: where it goes, what rules match on, what is allowed with it.
type Call struct {
	// Scheme and Host name the target, with the port where it isn't the scheme's default. Host may be
	// any name for what is not HTTP ("orders-db").
	Scheme, Host string
	// Service divides a host into targets that learn apart, such as gRPC's services. Rules don't
	// see it. Default: the host is one target.
	Service string
	// Method, Path (escaped, as on the wire) and GRPCMethod ("/package.Service/Method") are what the
	// document's rules may match on.
	Method, Path, GRPCMethod string
	// Credential tells callers apart for answers that refuse one of them only. It is hashed at once.
	Credential string
	// CredentialFrom, if set, is asked instead, with the call's context, and only where it matters.
	CredentialFrom func(context.Context) string
	CallOptions
}

// CallOptions are what a caller may say about one call.
type CallOptions struct {
	// Idempotent declares that repeating the call cannot do its work twice, nor can two of it at
	// once, which is what hedging makes where that is on.
	Idempotent bool
	// IdempotencyKey makes an HTTP call repeatable at an API that declares to know keys: one is
	// made before the first attempt and sent with each, unless the method is idempotent by itself
	// or the request has a key, or the field of one without a value. It is for this call only: each hop of a redirect, and whatever the
	// caller repeats, has a key of its own. Default NoKey: none is made.
	IdempotencyKey KeyForm
	// NoWait refuses where the call would have to wait for its turn.
	NoWait bool
	// Explained makes a response carry what [Explain] tells of it. Its Request is then a copy of the
	// one that net/http would show, with the same fields. Errors carry their story without it.
	Explained bool
}

type callOptionsKey struct{}

// WithCall returns a context whose HTTP and gRPC calls carry opts.
func WithCall(ctx context.Context, opts CallOptions) context.Context {
	return context.WithValue(ctx, callOptionsKey{}, opts)
}

// CallOptionsFrom returns what [WithCall] put into ctx: for those who build an edge of their own.
func CallOptionsFrom(ctx context.Context) CallOptions {
	opts, _ := ctx.Value(callOptionsKey{}).(CallOptions)
	return opts
}

// call is one logical call on its way. It is its own attempts' context, so that an inner wrapper
// finds that it is inside of one.
type call struct {
	visit

	http    *httpCall // that this is part of; nil where it isn't HTTP
	trial   *onTrial  // of a stage that shortened the policy's timeouts; else nil
	routing *routing  // of a call that a route matches; else nil

	forcedOpen bool  // the breaker is, by the configuration of killers
	policyEnds bool  // the deadline is the policy's
	replayable bool  // the request can be sent again as it was
	single     bool  // admitted by Begin: ends with its permit
	spent      bool  // a re-attempt was taken from the budget and is not sent yet
	obstacle   Stage // that the attempt being admitted waited for last

	deadline time.Time // the caller's or the policy's, whichever is earlier; zero: none
	waitLeft time.Duration
	backoff  *retry.Backoff // nil until an attempt has failed
	buffered int            // bytes of the request's body that are kept to be sent again
	attempts int
	permit   *Permit
	first    Permit // where permit points for the first attempt, which most calls end with

	tried  []Attempt    // what Explain tells of them
	idleAt clock.Moment // end of the last attempt, or start of the call
}

func (c *call) idleSince() time.Time { return c.Sample.Time(c.idleAt) }

type (
	insideKey  struct{}
	attemptKey struct{}
)

// attemptContext is the context of a call's attempts.
type attemptContext struct {
	context.Context // the caller's
	criticality     criticality.Level
	inner           bool // inside of another wrapper's call, which does the repeating
	decided         bool // a route has, where it goes
}

// Value makes the call visible to wrappers further in.
func (c *attemptContext) Value(key any) any {
	switch {
	case key == insideKey{}:
		return c
	case key == criticality.ContextKey{}:
		return c.criticality
	case key == attemptKey{} && !c.inner: // else the wrapper further out counts
		return 1
	}
	return c.Context.Value(key)
}

// withAttempt is the context of an attempt; the first one's is the call's own, which says so.
func (c *call) withAttempt(ctx context.Context, attempt int) context.Context {
	if attempt == 1 || c.inner {
		return ctx
	}
	return context.WithValue(ctx, attemptKey{}, attempt)
}

// AttemptFrom tells which attempt of its call ctx belongs to: 1 for the first, hedges counted as they
// are sent. It is for base transports and for the functions of [Engine.Do]. 0: ctx is no attempt's.
func AttemptFrom(ctx context.Context) int {
	if c, is := ctx.(*attemptContext); is && !c.inner { // as most are: what Value would find
		return 1
	}
	attempt, _ := ctx.Value(attemptKey{}).(int)
	return attempt
}

// start takes the call's one snapshot of the configuration, by which it is decided where it goes.
func (c *call) start(ctx context.Context, e *Engine) {
	c.begin(ctx, e)
	c.idleAt = c.Entered
	if len(c.killers.trials) > 0 && !c.single {
		c.enterTrial(c.killers.trials)
	}
	if c.policy.Route != nil && c.http != nil {
		c.enterRoute(c.killers)
	}
	c.setCriticality()
	c.setDeadline()
	c.Plain = !c.single && c.trial == nil && c.routing == nil && c.isPlain()
	c.join(c.killers.serial, c.Entered)
}

// join finds the call's target. The call is counted where it begins.
func (c *call) join(serial uint64, now clock.Moment) {
	c.findTarget(serial)
	for !c.enter(serial, now, false) { // it was forgotten meanwhile
		c.findTarget(serial)
	}
	c.forcedOpen = c.policy.Breaker.Mode == breaker.ForcedOpen
	if c.attempts > 0 {
		return
	}
	if c.Generation == 0 {
		c.ask(now)
	}
	if c.routing == nil || !c.routing.counted {
		metrics.Count(c.Context, c.engine.telemetry.Calls, c.Target.Series.Plain)
	}
}

// ask tells the stages of a call that is asked for.
func (c *call) ask(now clock.Moment) {
	c.Target.Budget.CallAt(c.Target.Clock.Born().Add(time.Duration(now)))
	if c.Target.Shedder.Ask(c.criticality) && c.Target.Gate.Paced() {
		c.Target.Gate.Resume()
		c.Target.Queue.WakeNext()
	}
	if c.criticality != criticality.Default {
		c.Target.CloseFast()
	}
	if c.routing == nil || !c.routing.counted {
		c.Target.Stats.Calls.Add(1)
	}
}

// clock is the time. A call that nothing has kept yet asks for it once: reading it costs as much as all that
// the stages do with it.
func (c *call) clock() time.Time {
	if c.attempts == 0 && c.obstacle == 0 {
		return c.Began()
	}
	return time.Now()
}

// finish gives back what a call that ends, or panics, took and didn't use.
func (c *call) finish() {
	c.refund()
	if c.trial != nil && c.trial.old && c.attempts == 0 {
		c.trial.untried()
	}
	if c.routing != nil {
		c.routing.Cancel()
	}
	if c.StateNow() != target.Counted { // else it is out already
		c.Target.Release()
	}
	c.engine.events.Deliver()
}

func (c *call) refund() {
	if c.spent {
		c.spent = false
		c.Target.Budget.Refund()
	}
}

// setDeadline bounds the call's waiting: what its deadline leaves, at most 60 s; 10 s without one.
func (c *call) setDeadline() {
	c.waitLeft = 10 * time.Second
	if deadline, ok := c.Context.Deadline(); ok {
		c.deadline = deadline
	}
	if t := c.policy.Timeout; t > 0 {
		if ends := c.Began().Add(t); c.deadline.IsZero() || ends.Before(c.deadline) {
			c.deadline, c.policyEnds = ends, true
		}
	}
	if !c.deadline.IsZero() {
		c.waitLeft = min(max(0, c.deadline.Sub(c.Began())), 60*time.Second)
	}
	if w := c.policy.MaxWait; w > 0 {
		c.waitLeft = min(c.waitLeft, w)
	}
	if c.NoWait || c.policy.NoWait {
		c.waitLeft = 0
	}
}

// timeLeft is what remains until the deadline; negative means that there is none.
func (c *call) timeLeft(now time.Time) time.Duration {
	if c.deadline.IsZero() {
		return -1
	}
	return max(0, c.deadline.Sub(now))
}

// patience is how long the call may wait from now on, with time left for an attempt that is of use:
// not at all where it need not.
func (c *call) patience(now time.Time) time.Duration {
	if c.mayFallBack() {
		return 0
	}
	if c.deadline.IsZero() {
		return c.waitLeft
	}
	return max(0, min(c.waitLeft, c.deadline.Sub(now)-c.Target.Reserve()))
}

// again decides whether the failed attempt is repeated, and when.
func (c *call) again(out *Outcome) (time.Duration, error) {
	if err := c.Context.Err(); err != nil {
		return 0, err
	}
	if c.inner {
		return 0, retry.ErrAttempts
	}
	if c.backoff == nil {
		backoff := c.policy.Retry.Backoff(c.engine.rand)
		c.backoff = &backoff
	}
	delay, err := c.policy.Retry.Next(retry.Attempt{
		Number:     c.attempts,
		Retryable:  out.retryable(c.policy),
		Safe:       c.Idempotent || out.Sent != MaybeSent,
		Replayable: c.replayable,
		Forbidden:  out.Hint.Verdict == hint.DontRepeat,
		Wait:       out.wait(),
		TimeLeft:   c.timeLeft(time.Now()),
		WaitLeft:   c.waitLeft,
		Useful:     c.Target.Useful(),
	}, c.backoff, c.Target.Budget)
	if err == nil && c.Target.Shedder.Reserves(c.criticality) {
		if saved, _ := c.Target.Budget.Saved(); saved < 1 {
			c.Target.Budget.Refund()
			err = priority.ErrReserved
		}
	}
	if err == nil {
		c.spent = true
		if doubt := c.Target.Gate.Doubt(); out.Class == Transient && !out.answered() && doubt < c.patience(time.Now()) {
			delay = max(delay, doubt)
		}
	}
	return delay, err
}

// credential names the caller for answers that refuse one caller only. It is computed at targets that
// tell callers apart, and kept as a keyed hash.
func (c *call) credential() uint64 {
	own := c.Credential
	switch {
	case c.CredentialFrom != nil:
		own = c.CredentialFrom(c.Context)
	case c.http == nil:
	case c.engine.opts.Partition != nil:
		own = c.engine.opts.Partition(c.seen())
	default:
		own = credential.Of(c.seen().Header.Get("Authorization"))
	}
	return c.engine.hashCredential(own)
}

// hashCredential keys a credential for the life of the engine, so that it is never kept itself.
func (e *Engine) hashCredential(credential string) uint64 {
	return max(1, maphash.String(e.hashSeed, credential)) // 0 is the lane that the rest shares
}
