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

// method is what is known of a method by its name.
type method struct {
	service    string
	idempotent bool
}

// newMethod reads "/package.Service/Method".
func (e *edge) newMethod(full string) method {
	service, name, _ := strings.Cut(strings.TrimPrefix(full, "/"), "/")
	m := method{service: service, idempotent: idempotencyLevel(service, name)}
	for _, known := range e.opts.Idempotent {
		m.idempotent = m.idempotent || known == full || known == "/"+service+"/"
	}
	return m
}

// misspelt tells that a service is linked in and has no such method.
func misspelt(service, name string) bool {
	descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return false
	}
	s, ok := descriptor.(protoreflect.ServiceDescriptor)
	return ok && s.Methods().ByName(protoreflect.Name(name)) == nil
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
func (e *edge) call(ctx context.Context, full string, cc *grpc.ClientConn) tether.Call {
	m, ok := e.methods.get(full)
	if !ok {
		m = e.newMethod(full)
		e.methods.put(full, m)
	}
	what := tether.Call{GRPCMethod: full, CredentialFrom: e.partition, CallOptions: tether.CallOptionsFrom(ctx)}
	what.Scheme, what.Host = e.targetOf(cc)
	if e.opts.ShareWithHTTP == "" {
		what.Service = m.service
	}
	what.Idempotent = what.Idempotent || m.idempotent
	return what
}

// authorization is whom a refusal of one caller covers, unless Options.Partition says otherwise.
func authorization(ctx context.Context) string {
	md, _ := metadata.FromOutgoingContext(ctx)
	return strings.Join(md["authorization"], ",")
}
