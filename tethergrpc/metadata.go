package tethergrpc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/criticality"
)

const (
	attemptsKey = "grpc-previous-rpc-attempts" // gRFC A6, Exposed Retry Metadata
	nudgeKey    = "tether-config"
)

// outgoing adds the metadata that is ours to an attempt's: which attempt it is, from the second on, and
// how critical it is where servers are told of that.
func (e *edge) outgoing(ctx context.Context) (_ context.Context, again bool) {
	attempt := tether.AttemptFrom(ctx)
	again = attempt > 1
	if !again && e.criticality == "" {
		return ctx, false
	}
	md, _ := metadata.FromOutgoingContext(ctx) // a copy
	level := criticality.From(ctx)
	told := e.criticality != "" && (level != criticality.Default || md[e.criticality] != nil)
	if !again && !told {
		return ctx, false
	}
	if md == nil {
		md = metadata.MD{}
	}
	if again {
		md.Set(attemptsKey, strconv.Itoa(attempt-1))
	}
	if told {
		delete(md, e.criticality) // Default is its absence
		if level != criticality.Default {
			md.Set(e.criticality, level.String())
		}
	}
	return metadata.NewOutgoingContext(ctx, md), again
}

// heed hears of a newer document. Nothing between a gRPC server and its client keeps answers.
func (e *edge) heed(cc *grpc.ClientConn, header metadata.MD) {
	if len(header) == 0 {
		return
	}
	if said := header[nudgeKey]; len(said) == 1 {
		_, host := e.targetOf(cc)
		e.engine.Nudged(host, said[0])
	}
}

// metadataKey is the key in which gRPC carries a header field, in small letters.
func metadataKey(field string) (string, error) {
	key := strings.ToLower(field)
	if strings.Trim(key, "0123456789abcdefghijklmnopqrstuvwxyz-_.") != "" || strings.HasPrefix(key, "grpc-") ||
		strings.HasSuffix(key, "-bin") {
		return "", fmt.Errorf("tethergrpc: %q can't be a key of metadata for criticality", field)
	}
	return key, nil
}

// ReadCriticality returns what lets a server read how critical its calls are, unary ones and streams: in the
// metadata of that key ([tether.Options].CriticalityHeader writes it), so that the calls made for them
// inherit that. What is missing or unknown is Default. It believes the client: use it where that is one of
// yours. It changes nothing else.
func ReadCriticality(header string) ([]grpc.ServerOption, error) {
	key, err := metadataKey(header)
	if err == nil && key == "" {
		err = errors.New("tethergrpc: no key to read criticality from")
	}
	if err != nil {
		return nil, err
	}
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo,
			handler grpc.UnaryHandler) (any, error) {
			return handler(withCriticality(ctx, key), req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo,
			handler grpc.StreamHandler) error {
			if ctx := withCriticality(stream.Context(), key); ctx != stream.Context() {
				stream = &serverStream{stream, ctx}
			}
			return handler(srv, stream)
		}),
	}, nil
}

func withCriticality(ctx context.Context, key string) context.Context {
	said := metadata.ValueFromIncomingContext(ctx, key)
	for _, c := range [...]criticality.Level{criticality.Sheddable, criticality.Critical} {
		if len(said) > 0 && strings.EqualFold(said[0], c.String()) {
			return criticality.With(ctx, c)
		}
	}
	return ctx
}

// serverStream is a stream with a context of its own.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *serverStream) Context() context.Context { return s.ctx }
