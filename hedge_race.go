package tether

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/tether-go/tether/internal/httpwire"
	"github.com/tether-go/tether/internal/metrics"

	"github.com/tether-go/tether/ratelimit/hint"
)

// race is an attempt and its hedge. The attempt runs on the goroutine of the call, the hedge on that of its timer,
// and the call waits for both. Each settles its own permit.
//
// While both may run, both read of the call what its start has set, and attempts; neither writes any field of it.
// Each writes to its own permit only. What changes of the call (attempts, permit, tried, idle, the response) is
// changed on the call's goroutine after await has returned.
type race struct {
	h    *httpCall
	over chan struct{} // closed when the hedge has ended, or won't be sent

	mu       sync.Mutex // guards what follows while both may run
	attempt  runner
	hedge    runner
	last     *runner // that has ended
	winner   *runner
	panicked any // by the hedge
}

// runner is one of the two. A context without a response ends with it, one with a response with its body.
type runner struct {
	permit   *Permit // nil: not sent
	ctx      context.Context
	cancel   context.CancelFunc
	response *http.Response
	out      Outcome
}

func (h *httpCall) race(p *Permit, delay time.Duration) Outcome {
	h.apart = true
	r := &race{h: h, over: make(chan struct{})}
	r.attempt.permit = p
	r.attempt.ctx, r.attempt.cancel = context.WithCancel(h)
	timer := time.AfterFunc(delay, r.sendHedge)
	complete := false
	defer func() {
		if !complete { // a panic, or Goexit, in the base transport
			r.abandon(timer)
		}
	}()
	r.run(&r.attempt)
	r.await(timer)
	if r.panicked != nil {
		panic(r.panicked) // where the caller of the transport can see it
	}
	complete = true
	return r.result()
}

// await returns when no hedge is under way, nor will be. It counts one that was sent.
func (r *race) await(timer *time.Timer) {
	if timer.Stop() {
		close(r.over)
	}
	<-r.over
	if r.hedge.permit != nil {
		r.h.attempts++
	}
}

// abandon leaves nothing of the race after a panic.
func (r *race) abandon(timer *time.Timer) {
	r.mu.Lock()
	r.last, r.winner = &r.attempt, &r.attempt // no hedge is sent from now on, and one under way teaches nothing
	cancel := r.hedge.cancel
	r.mu.Unlock()
	r.attempt.cancel()
	if cancel != nil {
		cancel()
	}
	r.await(timer)
	for _, a := range []*runner{&r.attempt, &r.hedge} {
		if a.response != nil {
			a.response.Body.Close()
		}
	}
}

// run makes one of the two attempts. The first that serves ends the other; one that fails leaves it alone.
func (r *race) run(a *runner) {
	h := r.h
	defer func() { // after a panic, or Goexit, too
		a.permit.Done(a.out)
		if a.response == nil {
			a.cancel()
		}
	}()
	resp, out := h.exchange(a.ctx, a.permit)
	r.mu.Lock()
	outrun := r.winner != nil
	if !outrun && out.served(h.policy) {
		r.winner = a
	}
	r.last = a
	won, end := r.winner == a, r.other(a).cancel
	r.mu.Unlock()
	if won && end != nil {
		end()
	}
	if outrun {
		a.out = r.outrun(a, resp, out)
		return
	}
	h.heedContext(a.permit, &out)
	a.out = out
	if a.response = resp; resp != nil {
		httpwire.WhenEnded(resp, a.cancel)
	}
}

func (r *race) other(a *runner) *runner {
	if a == &r.attempt {
		return &r.hedge
	}
	return &r.attempt
}

// outrun is the outcome of the one that came too late. What a server said all the same counts, a "not
// before" above all; an end that we brought about teaches no stage. That the answer takes as long at least
// is learnt all the same: else the slowest would be missing, and ever more attempts be hedged.
func (r *race) outrun(a *runner, resp *http.Response, out Outcome) Outcome {
	if resp != nil {
		resp.Body.Close()
	}
	if !out.answered() {
		out = Outcome{}
		r.h.Target.Outrun(&a.permit.pass, r.h.Endpoint, time.Since(a.permit.sent()), r.h.policy.Hedge.Up)
	}
	out.Err = ErrOutrun
	return out
}

// sendHedge sends the hedge, if it is admitted while the attempt is still under way.
func (r *race) sendHedge() {
	defer close(r.over)
	defer func() {
		if reason := recover(); reason != nil {
			r.surrender(reason)
		}
	}()
	c := &r.h.call
	p := c.admitHedge()
	if p == nil {
		metrics.Count(c.Context, c.engine.telemetry.Hedges, c.Target.Series.Hedged[hedgeDenied])
		return
	}
	hedge := runner{permit: p, out: Outcome{Err: errNothing}}
	hedge.ctx, hedge.cancel = context.WithCancel(r.h)
	if !r.enter(hedge) {
		hedge.cancel()
		c.unadmitHedge(p)
		return
	}
	c.hedging(p, r.attempt.permit)
	r.run(&r.hedge)
}

// surrender ends the race after a panic of the hedge: what becomes of the attempt then teaches nothing.
func (r *race) surrender(reason any) {
	r.mu.Lock()
	r.panicked, r.winner = reason, &r.hedge
	r.mu.Unlock()
	r.attempt.cancel()
}

// enter puts the hedge beside the attempt, unless that has ended.
func (r *race) enter(hedge runner) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last != nil {
		return false
	}
	r.hedge = hedge
	return true
}

// result is what the call goes on with: the winner's outcome, or that of the one that failed last.
func (r *race) result() Outcome {
	h, end, result := r.h, r.winner, hedgeOutrun
	defer func() { h.idleAt = h.Sample.Now() }()
	switch end {
	case nil:
		end, result = r.last, hedgeFailed
	case &r.hedge:
		result = hedgeServed
	}
	out := end.out
	if r.hedge.permit == nil {
		h.take(end.response)
		h.record(r.attempt.permit, &out)
		return out
	}
	other := r.other(end)
	h.take(other.response) // which is closed where the other has one too
	h.take(end.response)
	if h.permit = end.permit; end.response == nil && other.response != nil {
		h.permit = other.permit // whose place that response has
	}
	out.Hint.Wait = max(out.Hint.Wait, other.out.Hint.Wait)
	if r.winner == nil && other.out.Hint.Verdict == hint.DontRepeat {
		out.Hint.Verdict = hint.DontRepeat
	}
	metrics.Count(h.Context, h.engine.telemetry.Hedges, h.Target.Series.Hedged[result])
	if r.winner == nil || h.Explained {
		attempt, hedge := r.attempt.permit.pass.SentAt, r.hedge.permit.pass.SentAt
		second := r.hedge.out.attempt(hedge.Since(attempt))
		second.Hedge = true
		h.tried = append(h.tried, r.attempt.out.attempt(attempt.Since(h.idleAt)), second)
	}
	return out
}
