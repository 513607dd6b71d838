package tether

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"weak"

	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/retry"
)

// Story is how a call came to its response or its error.
type Story struct {
	// Attempts are what was sent, in order; none if nothing was. A response is that of the last one
	// that has no Err; of an attempt and its hedge that were both answered, that of the later answer.
	Attempts []Attempt
	// NotRepeated is why no further attempt was made: one of package retry's sentinels, a
	// *[RejectedError], or the error of the caller's context. It is nil if the last attempt served.
	NotRepeated error
	// Buffered is how many bytes of the request's body were kept to be sent again, as
	// [Options].BufferBodies asks for; 0 if none were, or more were sent than that.
	Buffered int
}

// Attempt is one attempt of a call that is over.
type Attempt struct {
	// Wait is how long the call waited before it, for whatever reason: backoff, a hold, pacing. A
	// hedge's is counted from when the attempt before it was sent.
	Wait time.Duration
	// Hedge tells that it was sent while the one before had no answer yet.
	Hedge bool
	// Routed tells that it went where a route sends the call; see [policy.RouteSettings].
	Routed bool
	// Status is the answer's HTTP status; 0 where there was none, or none of HTTP's.
	Status int
	// Code is the gRPC code that it failed with; 0: none.
	Code policy.StatusCode
	// Err is the failure as the transport told it, so that its text is the transport's; nil for an answer.
	Err error
	// Sent is what is known of the way of an attempt that has an Err.
	Sent Sent
}

// Explain returns the story of a call made by net/http or by [Engine.Do], of which resp and err, one
// of them nil, are what came back. It tells false where nothing is known: a response whose call was not
// [CallOptions].Explained, an error of a single attempt that says itself all that there is (its cause
// is final, or the caller's context has ended), what did not pass through an engine, and a response
// whose Request something further out has replaced. It is safe for concurrent use.
func Explain(resp *http.Response, err error) (Story, bool) {
	var failed *failedError
	var refused *RejectedError
	switch {
	case errors.As(err, &failed):
		return failed.story.clone(), true
	case isRefusal(err) && errors.As(err, &refused):
		return Story{NotRepeated: refused}, true
	case resp == nil || resp.Request == nil:
		return Story{}, false
	}
	told, ok := resp.Request.Context().Value(toldKey{}).(told)
	if !ok || told.of.Value() != resp { // the context may have served another call since
		return Story{}, false
	}
	return told.story.clone(), true
}

func (s Story) clone() Story {
	s.Attempts = slices.Clone(s.Attempts)
	return s
}

// String tells the story in one line. The text of attempts' errors is left out, because a transport may
// have put a URL into it.
func (s Story) String() string {
	if len(s.Attempts) == 0 {
		return fmt.Sprintf("nothing sent: %v", s.NotRepeated)
	}
	var b strings.Builder
	for i, a := range s.Attempts {
		if i > 0 {
			b.WriteString(", ")
		}
		if a.Hedge {
			b.WriteString("hedged ")
		}
		if a.Routed {
			b.WriteString("routed ")
		}
		if wait := a.Wait.Round(time.Millisecond); wait > 0 {
			fmt.Fprintf(&b, "after %v ", wait)
		}
		b.WriteString(a.result())
	}
	if s.NotRepeated != nil {
		fmt.Fprintf(&b, "; not repeated: %v", s.NotRepeated)
	}
	if s.Buffered > 0 {
		fmt.Fprintf(&b, "; %d bytes of the body were kept", s.Buffered)
	}
	return b.String()
}

// result says in a few words what came of the attempt.
func (a Attempt) result() string {
	switch {
	case errors.Is(a.Err, ErrOutrun):
		return "outrun"
	case a.Err == nil && a.Code != 0:
		return a.Code.String()
	case a.Err == nil && a.Status == 0:
		return "an answer"
	case a.Err == nil:
		return fmt.Sprint(a.Status)
	case a.Sent == NotSent:
		return "not sent"
	case a.Sent == NotProcessed:
		return "refused unprocessed"
	case a.Code != 0:
		return a.Code.String()
	case isTimeout(a.Err):
		return "timed out"
	}
	return "no answer"
}

// record notes what an attempt brought, before idleSince is its end. A first attempt that serves is
// noted only where somebody asks.
func (c *call) record(p *Permit, out *Outcome) {
	if out.served(c.policy) && !c.Explained {
		return
	}
	attempt := out.attempt(p.pass.SentAt.Since(c.idleAt))
	attempt.Routed = c.routed()
	c.tried = append(c.tried, attempt)
}

func (o *Outcome) attempt(waited time.Duration) Attempt {
	return Attempt{Wait: waited, Status: o.Status, Code: o.Code, Err: o.Err, Sent: o.Sent}
}

// failedError is a *retry.Error with its story. It shows itself as the former only.
type failedError struct {
	failed *retry.Error
	story  Story
}

func (e *failedError) Error() string { return e.failed.Error() }
func (e *failedError) Unwrap() error { return e.failed }
func (e *failedError) Timeout() bool { return e.failed.Timeout() }

type toldKey struct{}

// told is the story of one response. It does not keep the response: a context may outlive it.
type told struct {
	of    weak.Pointer[http.Response]
	story Story
}

// tell lets the response carry its story, in the context of a copy of the caller's request: the
// request itself is the caller's, and all other fields of a response show what they hold.
func (h *httpCall) tell(reason error) {
	ctx := context.WithValue(h.response.Request.Context(), toldKey{}, told{weak.Make(h.response), Story{h.tried, reason, h.buffered}})
	h.response.Request = h.request.WithContext(ctx)
}
