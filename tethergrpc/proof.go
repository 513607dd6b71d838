package tethergrpc

import (
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// proof collects, by call options, what came back of an attempt.
type proof struct {
	header, trailer metadata.MD
	ended           atomic.Bool
}

// untouched stands where grpc-go writes the header of every stream that it made. It is never
// written to.
var untouched = metadata.MD{"": nil}

// add adds the options to a unary call's. Whether an attempt left matters only where repeating it
// otherwise would not be safe.
func (p *proof) add(opts []grpc.CallOption, asked bool) []grpc.CallOption {
	opts = append(opts, grpc.HeaderCallOption{HeaderAddr: &p.header}, grpc.TrailerCallOption{TrailerAddr: &p.trailer})
	if asked {
		opts = append(opts, grpc.OnFinishCallOption{OnFinish: p.finish})
	}
	return opts
}

func (p *proof) finish(error) { p.ended.Store(true) }

func (p *proof) reset() {
	p.header, p.trailer = untouched, nil
	p.ended.Store(false)
}

// answer is what the attempt brought. If it has ended and no stream was made, nothing left. An
// interceptor further in that loses the options also loses the end, and then nothing is proved.
func (p *proof) answer() answer {
	if _, none := p.header[""]; none {
		return answer{trailer: p.trailer, unsent: p.ended.Load()}
	}
	return answer{header: p.header, trailer: p.trailer}
}
