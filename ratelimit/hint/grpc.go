package hint

import (
	"strconv"
	"time"
)

// GRPC is a gRPC answer's word on when to come back, as plain data. The caller fills it in from the
// trailers and the status details.
type GRPC struct {
	// Pushback are the values of the trailer grpc-retry-pushback-ms, as they came.
	Pushback []string
	// RetryDelay is google.rpc.RetryInfo's, meaningful only with HasRetryDelay.
	RetryDelay    time.Duration
	HasRetryDelay bool
	// Violations are google.rpc.QuotaFailure's. They name no time.
	Violations []Violation
}

// Violation is one of google.rpc.QuotaFailure.
type Violation struct {
	Subject, Description string
	// Metric and ID name the quota; "": not said. Limit is its size; 0: not said.
	Metric, ID string
	Limit      int64
}

// Hint reads the answer. A pushback that is negative, no number of 32 bits or not alone
// forbids the repeat (gRFC A6, Pushback). Of a pushback and a RetryInfo the longer wait counts: the one
// is exact, the other a minimum; a negative minimum says nothing. The first quota that is named is the
// partition.
func (g GRPC) Hint() (hint Hint) {
	for _, v := range g.Violations[:min(len(g.Violations), maxLines)] {
		if name := v.name(); name != "" {
			hint.Partition = name
			if v.Limit > 0 {
				hint.Quota.Limit, hint.Quota.LimitKnown = v.Limit, true
			}
			break
		}
	}
	if len(g.Pushback) > 0 {
		wait, ok := parsePushback(g.Pushback)
		if !ok {
			hint.Verdict = DontRepeat
			return hint
		}
		hint.Wait, hint.Explicit, hint.Exact = wait, true, true
	}
	delay := roundUp(g.RetryDelay)
	if g.HasRetryDelay && g.RetryDelay >= 0 && (!hint.Explicit || delay > hint.Wait) {
		hint.Wait, hint.Explicit, hint.Exact = delay, true, false
	}
	return hint
}

// name returns the first name of the quota that is no longer than a list of limits may be.
func (v Violation) name() string {
	for _, name := range [...]string{v.ID, v.Metric} {
		if name != "" && len(name) <= maxListBytes {
			return name
		}
	}
	return ""
}

// parsePushback returns false if the values forbid a repeat.
func parsePushback(values []string) (time.Duration, bool) {
	if len(values) != 1 || len(values[0]) > maxLineBytes || !isDigits(values[0]) { // the sign of a negative one too
		return 0, false
	}
	ms, err := strconv.ParseInt(values[0], 10, 32)
	return time.Duration(ms) * time.Millisecond, err == nil
}
