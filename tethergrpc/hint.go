package tethergrpc

import (
	"net/http"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether/ratelimit/hint"
)

const (
	pushbackKey   = "grpc-retry-pushback-ms" // gRFC A6, Pushback
	maxViolations = 16                       // of quotas: the first that has a name counts
)

// hintOf reads what an answer says about when to come back: the fields that HTTP has for it, which
// a gRPC answer may carry as metadata, and for a failure the status details and the pushback.
func hintOf(header, trailer metadata.MD, st *status.Status) (h hint.Hint) {
	if fields := httpFields(header, trailer); fields != nil {
		h = hint.ParseHeader(fields, time.Now())
	}
	if st == nil {
		return h
	}
	said := hint.GRPC{Pushback: trailer[pushbackKey]}
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.RetryInfo:
			if delay := d.RetryDelay.AsDuration(); d.RetryDelay != nil && delay >= 0 {
				said.RetryDelay, said.HasRetryDelay = max(said.RetryDelay, delay), true
			}
		case *errdetails.QuotaFailure:
			for _, v := range d.Violations[:min(len(d.Violations), maxViolations-len(said.Violations))] {
				said.Violations = append(said.Violations, hint.Violation{Subject: v.Subject,
					Description: v.Description, Metric: v.QuotaMetric, ID: v.QuotaId, Limit: v.QuotaValue})
			}
		}
	}
	return merge(said.Hint(), h)
}

// merge adds what HTTP's fields say to what gRPC says: the longer wait, the verdict against a
// repeat, and for the rest gRPC first.
func merge(grpc, fields hint.Hint) hint.Hint {
	out := grpc
	if fields.Explicit && (!grpc.Explicit || fields.Wait > grpc.Wait) {
		out.Wait, out.Explicit, out.Exact = fields.Wait, true, false
	}
	if out.Verdict == hint.Unsaid || fields.Verdict == hint.DontRepeat {
		out.Verdict = fields.Verdict
	}
	if fields.Quota.RemainingKnown || !grpc.Quota.LimitKnown {
		out.Quota = fields.Quota
	}
	if grpc.Partition == "" {
		out.Partition, out.PartitionKey, out.Scope = fields.Partition, fields.PartitionKey, fields.Scope
	}
	return out
}

// httpFields returns metadata as the fields that package ratelimit reads, or nil where none of them
// can be there: most answers have none. Names in metadata are in lower case.
func httpFields(header, trailer metadata.MD) (fields http.Header) {
	if len(header)+len(trailer) == 0 || !mayHint(header) && !mayHint(trailer) {
		return nil
	}
	fields = make(http.Header, len(header)+len(trailer))
	for _, md := range [...]metadata.MD{header, trailer} {
		for name, values := range md {
			key := http.CanonicalHeaderKey(name)
			fields[key] = append(fields[key], values...)
		}
	}
	return fields
}

func mayHint(md metadata.MD) bool {
	for name := range md {
		for _, prefix := range [...]string{"retry-after", "ratelimit", "x-ra", "x-retry", "x-ms-retry", "x-amz-retry",
			"x-sentry", "x-should", "x-shopify", "stripe-", "anthropic-"} {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
	}
	return false
}
