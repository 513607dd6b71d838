package tethergrpc

import (
	"context"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/credential"
	"github.com/tether-go/tether/policy"
)

// target is the server that a channel calls.
type target struct{ scheme, host string }

// targetOf returns the scheme and the host that a channel's calls have for rules and for learnt
// state. The work is remembered by the target as it was written.
func (e *edge) targetOf(cc *grpc.ClientConn) (scheme, host string) {
	t, ok := e.targets.get(cc.Target())
	if !ok {
		t = newTarget(cc.CanonicalTarget(), e.opts.ShareWithHTTP)
		e.targets.put(cc.Target(), t)
	}
	return t.scheme, t.host
}

// newTarget reads a canonical target, "<scheme>://[authority]/<endpoint>". A dns or passthrough
// target is its host and port, in lower case (443 where there is none: the dns resolver's default).
// Any other (unix, xds, a resolver of one's own) is itself, without what is empty: "xds:orders",
// "unix:/run/orders.sock".
func newTarget(canonical, share string) target {
	resolver, rest, _ := strings.Cut(canonical, "://")
	authority, endpoint, _ := strings.Cut(rest, "/")
	t := target{scheme: "grpc"}
	switch resolver {
	case "dns", "passthrough":
		t.host = strings.ToLower(endpoint)
		if _, _, err := net.SplitHostPort(t.host); err != nil && resolver == "dns" {
			t.host = net.JoinHostPort(strings.Trim(t.host, "[]"), "443")
		}
		if _, host := policy.OriginOf(t.scheme, t.host); host != "" { // ":" has none
			t.host = host
		}
	case "unix":
		t.host = "unix:/" + endpoint
	default:
		if authority != "" {
			authority = "//" + authority + "/"
		}
		t.host = resolver + ":" + authority + endpoint
	}
	switch share {
	case "https":
		t.scheme, t.host = share, strings.TrimSuffix(t.host, ":443")
	case "http":
		t.scheme, t.host = share, strings.TrimSuffix(t.host, ":80")
	}
	return t
}

// names are all that a call is known by: the channel's target as it was written, and the full method.
type names struct{ target, method string }

// known is what follows from names.
type known struct {
	names
	call tether.Call
}

// known returns what is known of a channel's calls to a method, "/package.Service/Method".
func (e *edge) known(cc *grpc.ClientConn, full string) *known {
	names := names{cc.Target(), full}
	k := e.last.Load()
	if k != nil && k.names == names {
		return k
	}
	k, ok := e.calls.get(names)
	if !ok {
		k = e.newKnown(cc, names)
		e.calls.put(names, k)
	}
	e.last.Store(k)
	return k
}

func (e *edge) newKnown(cc *grpc.ClientConn, names names) *known {
	service, name, _ := strings.Cut(strings.TrimPrefix(names.method, "/"), "/")
	k := &known{names: names, call: tether.Call{GRPCMethod: names.method, CredentialFrom: e.partition}}
	k.call.Scheme, k.call.Host = e.targetOf(cc)
	if e.opts.ShareWithHTTP == "" {
		k.call.Service = service
	}
	k.call.Idempotent = idempotencyLevel(service, name)
	for _, known := range e.opts.Idempotent {
		k.call.Idempotent = k.call.Idempotent || known == names.method || known == "/"+service+"/"
	}
	return k
}

// linkedIn finds the descriptor of a service, nil if the program has none.
func linkedIn(service string) protoreflect.ServiceDescriptor {
	descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil
	}
	s, _ := descriptor.(protoreflect.ServiceDescriptor)
	return s
}

// misspelt tells that a service is linked in and has no such method.
func misspelt(service, name string) bool {
	s := linkedIn(service)
	return s != nil && s.Methods().ByName(protoreflect.Name(name)) == nil
}

// idempotencyLevel tells whether a method whose descriptor is linked in is declared to be repeatable
// (google/protobuf/descriptor.proto, MethodOptions).
func idempotencyLevel(service, name string) bool {
	full := protoreflect.FullName(service + "." + name)
	if !full.IsValid() {
		return false
	}
	descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(full)
	if err != nil {
		return false
	}
	options, ok := descriptor.Options().(*descriptorpb.MethodOptions)
	if !ok {
		return false
	}
	level := options.GetIdempotencyLevel()
	return level == descriptorpb.MethodOptions_IDEMPOTENT || level == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
}

// call describes a call to the engine.
func (e *edge) call(ctx context.Context, full string, cc *grpc.ClientConn) *tether.Call {
	known := &e.known(cc, full).call
	opts := tether.CallOptionsFrom(ctx)
	if opts == (tether.CallOptions{}) {
		return known
	}
	what := *known
	what.CallOptions = opts
	what.Idempotent = opts.Idempotent || known.Idempotent
	return &what
}

// authorization is whom a refusal of one caller covers, unless Options.Partition says otherwise.
func authorization(ctx context.Context) string {
	md, _ := metadata.FromOutgoingContext(ctx)
	return credential.Of(strings.Join(md["authorization"], ","))
}
