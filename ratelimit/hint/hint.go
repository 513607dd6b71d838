package hint

import (
	"net/http"
	"time"
)

// Hint is a server's word, in one answer, on when to come back. The zero Hint says nothing.
type Hint struct {
	// Wait is the explicit wait that the server asked for, counted from the moment the answer's
	// head arrived. It is meaningful only when Explicit is true, and zero otherwise; it is never
	// negative. No cap is applied: a wait too long to represent is the longest Duration, so add to
	// it with care.
	Wait time.Duration
	// Explicit tells that the server named a wait, be it zero.
	Explicit bool
	// Exact tells that Wait is the very delay and no minimum: gRPC's pushback.
	Exact bool
	// Verdict is the server's word about a repeat of this very call.
	Verdict Verdict
	// Quota is the server's count of requests, or of something else.
	Quota Quota
	// Partition names the group of requests that the server counts or refuses: a policy, a bucket, a
	// resource, a limit's name, a scope or a reason, in its own words; "global" is everything.
	Partition string
	// PartitionKey holds the bytes that name the partition within a policy (pk); "": not given.
	PartitionKey string
	// Scope tells which of a caller's requests Partition covers.
	Scope Scope

	bare time.Duration // wait for a 429 that names none; 0: none
}

// Verdict is a server's word about a repeat.
type Verdict uint8

// The verdicts. The zero Verdict leaves it to the client.
const (
	Unsaid Verdict = iota
	Repeat
	DontRepeat
)

// Scope tells which of a caller's requests a partition covers, as far as its kind says.
type Scope uint8

// The scopes. The zero Scope is the cautious one.
const (
	AllRequests  Scope = iota // all of the caller's requests
	OnePolicy                 // requests under the only policy named
	SomeRequests              // requests of a bucket or a resource; other requests are counted apart
)

// Quota is the state of a server's limit; of several, the one that binds first. The zero Quota says nothing.
type Quota struct {
	// Limit is how much there is in a window and Remaining how much is left, in Unit. Neither is
	// negative, and Remaining is no promise.
	Limit, Remaining int64
	// Reset is how long it takes, from when the answer's head arrived, until more becomes available:
	// not necessarily all. It is never negative.
	Reset time.Duration
	// LimitKnown, RemainingKnown and ResetKnown tell which of these the server said.
	LimitKnown, RemainingKnown, ResetKnown bool
	// Window is the time over which Limit is counted; 0: not known.
	Window time.Duration
	// Unit is the thing counted; "": requests.
	Unit string
	// ForAll tells that Reset is the time until all of Limit is back, and that some is sooner. Services
	// that count requests and tokens side by side say it so.
	ForAll bool
}

// Exhausted reports whether nothing is left and the time until there is more is known.
func (q Quota) Exhausted() bool { return q.RemainingKnown && q.Remaining == 0 && q.ResetKnown }

// known reports whether the server gave a limit, a rest or a reset.
func (q Quota) known() bool { return q.LimitKnown || q.RemainingKnown || q.ResetKnown }

// Paces reports whether the quota can be spread over calls: it counts requests, and gives both the rest and the
// time until there is more.
func (q Quota) Paces() bool {
	// A limit of nothing on an answer that serves is no limit, whatever it is meant to be.
	return q.RemainingKnown && q.ResetKnown && q.Reset > 0 && q.Unit == "" && !q.ForAll && !(q.LimitKnown && q.Limit == 0)
}

// Tight reports whether calls at that rate, in calls a second, would use half of the rest or more.
func (q Quota) Tight(perSecond float64) bool {
	return perSecond*q.Reset.Seconds() > float64(q.Remaining)/2
}

// MinWait is the least wait before a repeat of the call that was answered with that HTTP status; 0
// stands for a failure that has none. It is the explicit wait, or else, for a refusal with nothing
// left, the time until there is more; else 0, and the client's own backoff alone decides. A [Verdict]
// that forbids the repeat goes before it.
func (h Hint) MinWait(status int) time.Duration {
	switch {
	case (h.Explicit || h.Wait > 0) && (status == 0 || status >= 300):
		return max(h.Wait, 0)
	case status != 0 && status < 400:
		return 0
	case h.Quota.Exhausted():
		return h.Quota.Reset
	case status == http.StatusTooManyRequests:
		return h.bare
	}
	return 0
}
