package tethergrpc

import (
	"context"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/tether-go/tether"
)

// unary is one unary call: all that is allocated for it.
type unary struct {
	room       tether.Room
	edge       *edge
	method     string
	req, reply any
	cc         *grpc.ClientConn
	invoker    grpc.UnaryInvoker
	opts       []grpc.CallOption // the caller's, and then ours
	callers    int               // how many are the caller's
	proof      proof
	few        [6]grpc.CallOption // where opts are, if they are few
}

func (e *edge) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
	invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	what := e.call(ctx, method, cc)
	u := &unary{edge: e, method: method, req: req, reply: reply, cc: cc, invoker: invoker, callers: len(opts)}
	u.opts = u.proof.add(append(u.few[:0], opts...), !what.Idempotent)
	return withStatus(e.engine.Run(ctx, &u.room, what, u))
}

// Attempt sends the call once.
func (u *unary) Attempt(ctx context.Context, _ *tether.Permit) tether.Outcome {
	u.proof.reset()
	ctx, again := outgoing(ctx)
	if again {
		forget(u.opts[:u.callers])
	}
	err := u.invoker(ctx, u.method, u.req, u.reply, u.cc, u.opts...)
	return u.edge.outcome(ctx, u.cc, u.method, err, u.proof.answer())
}

// outgoing adds the metadata that is ours to an attempt's. Only a re-attempt has some (gRFC A6,
// Exposed Retry Metadata): what the server is told of every call would be added here.
func outgoing(ctx context.Context) (_ context.Context, again bool) {
	attempt := tether.AttemptFrom(ctx)
	if attempt < 2 {
		return ctx, false
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	if md == nil {
		md = metadata.MD{}
	}
	md.Set("grpc-previous-rpc-attempts", strconv.Itoa(attempt-1))
	return metadata.NewOutgoingContext(ctx, md), true
}

// forget empties what an earlier attempt left where the caller looks: one that gets no stream fills
// nothing.
func forget(opts []grpc.CallOption) {
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = nil
		case grpc.TrailerCallOption:
			*o.TrailerAddr = nil
		}
	}
}
