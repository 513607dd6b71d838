package tethergrpc

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/retry"
)

// answer is what came back of an attempt beside its error.
type answer struct {
	header, trailer metadata.MD
	unsent          bool // it is proved that no stream was ever made for it
}

// outcome says what an attempt teaches, by its code and by whether the server gave it: grpc-go
// makes codes itself, for what never left, for lost connections, for messages that are too large.
func (e *edge) outcome(ctx context.Context, cc *grpc.ClientConn, full string, err error, a answer) tether.Outcome {
	e.heed(cc, a.header)
	if err == nil {
		out := tether.Outcome{Class: tether.Healthy}
		if len(a.header)+len(a.trailer) > 0 {
			out.Hint = hintOf(a.header, a.trailer, nil)
		}
		return out
	}
	if isRefusal(err) {
		return tether.Outcome{Class: tether.Ignored, Err: err, Final: true, Sent: tether.NotSent}
	}
	st, ok := status.FromError(err)
	if !ok {
		st = status.FromContextError(err)
	}
	out := tether.Outcome{Err: err, Code: policy.StatusCode(st.Code()), Hint: hintOf(a.header, a.trailer, st)}
	if a.unsent {
		out.Sent = tether.NotSent
	}
	classify(&out, st, a)
	switch {
	case ctx.Err() != nil && (st.Code() == codes.Canceled || st.Code() == codes.DeadlineExceeded):
		out.Answered = false // be it the server's: it only says what our context does
		if st.Code() == codes.Canceled {
			out.Class = tether.Ignored
		}
	case st.Code() == codes.Canceled && cc.GetState() == connectivity.Shutdown:
		out.Class, out.Final = tether.Ignored, true
	}
	out.Final = out.Final || e.stacked(cc, full)
	return out
}

// classify tells answers from codes that the client made. A status of the server's own is
// Trailers-Only, whose content-type grpc-go leaves in the trailer, or comes after a header. After a
// header a lost connection looks the same as an answer without trailer metadata: a fault of the
// server, by the share of such calls.
func classify(out *tether.Outcome, st *status.Status, a answer) {
	said := len(a.trailer) > 0 || len(st.Proto().GetDetails()) > 0
	began := said || len(a.header) > 0
	out.Answered = began
	switch st.Code() {
	case codes.Unavailable:
		switch {
		case said:
			out.Class = tether.Overloaded
		case began || !isOwnTrouble(st.Message()):
			out.Class = tether.Transient
		}
	case codes.ResourceExhausted:
		switch {
		case said:
			out.Class, out.Partitioned = tether.Overloaded, true
		case began: // perhaps a message that is too large for this client
			out.Class = tether.Healthy
		}
	case codes.DeadlineExceeded:
		out.Class = tether.Transient
	case codes.Canceled: // the caller's own was sorted out: a proxy's, or a server that goes away
		out.Class, out.Answered = tether.Transient, true
	case codes.Internal, codes.Unknown, codes.DataLoss:
		if began { // else it may be a message that can't be encoded, or an interceptor's own error
			out.Class = tether.Transient
		}
	default:
		if began {
			out.Class = tether.Healthy
		}
	}
}

// isRefusal finds what a wrapper further in did not send at all.
func isRefusal(err error) bool {
	var refused *tether.RejectedError
	var failed *retry.Error
	return errors.As(err, &refused) && !errors.As(err, &failed)
}
