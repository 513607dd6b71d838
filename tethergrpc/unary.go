package tethergrpc

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

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
	proof      proof
	few        [3]grpc.CallOption // where opts are, if they are few
}

func (e *edge) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
	invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	opts, ends := splitEnds(opts)
	what := e.call(ctx, method, cc)
	u := &unary{edge: e, method: method, req: req, reply: reply, cc: cc, invoker: invoker}
	u.opts = u.proof.add(append(u.few[:0], opts...), !what.Idempotent)
	err := withStatus(e.engine.Run(ctx, &u.room, what, u))
	for _, end := range ends {
		end(err)
	}
	return err
}

// Attempt sends the call once.
func (u *unary) Attempt(ctx context.Context, _ *tether.Permit) tether.Outcome {
	u.proof.reset()
	ctx, again := u.edge.outgoing(ctx)
	if again {
		forget(u.opts[:len(u.opts)-int(u.proof.own)])
	}
	err := u.invoker(ctx, u.method, u.req, u.reply, u.cc, u.opts...)
	return u.edge.outcome(ctx, u.cc, u.method, err, u.proof.answer())
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
		case grpc.PeerCallOption:
			*o.PeerAddr = peer.Peer{}
		}
	}
}

// splitEnds returns the options without those that hear of the call's end: each attempt would tell them.
func splitEnds(opts []grpc.CallOption) (rest []grpc.CallOption, ends []func(error)) {
	for _, o := range opts {
		if o, is := o.(grpc.OnFinishCallOption); is {
			ends = append(ends, o.OnFinish)
		}
	}
	if ends == nil {
		return opts, nil
	}
	return slices.DeleteFunc(slices.Clone(opts), func(o grpc.CallOption) bool {
		_, is := o.(grpc.OnFinishCallOption)
		return is
	}), ends
}
