package tethergrpc

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/tether-go/tether"
)

// unary is what is allocated for a unary call.
type unary struct {
	room  tether.Room
	proof proof
	few   [3]grpc.CallOption // where the call's options are, if they are few
}

func (e *edge) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
	invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	callers, ends := splitEnds(opts)
	what := e.call(ctx, method, cc)
	u := &unary{}
	all := u.proof.add(append(u.few[:0], callers...), !what.Idempotent)
	err := withStatus(e.engine.Run(ctx, &u.room, what, func(ctx context.Context) tether.Outcome {
		u.proof.reset()
		ctx, again := e.outgoing(ctx)
		if again {
			forget(callers)
		}
		err := invoker(ctx, method, req, reply, cc, all...)
		return e.outcome(ctx, cc, method, err, u.proof.answer())
	}))
	for _, end := range ends {
		end(err)
	}
	return err
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
