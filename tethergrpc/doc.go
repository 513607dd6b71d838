// Package tethergrpc lets the calls of gRPC channels go through a tether engine: the same stages,
// the same budget, the same document as for HTTP.
//
//	options, err := tethergrpc.DialOptions(engine, tethergrpc.Options{})
//	conn, err := grpc.NewClient("dns:///stock.example.com:443", append(options, credentials)...)
//
// A unary call is repeated where that is safe: its method is declared idempotent (in its
// descriptor, in [Options].Idempotent, or by [tether.WithCall]), or it provably never left. A
// stream of answers to one request is repeated by the same rule as long as nothing of an answer has
// come, not even a header; other streams never are, once they are made. Nothing is hedged. A stream
// settles with its header or first message and holds its place among the calls under way until it
// ends; the policy's timeouts are for unary calls only.
//
// # Targets and rules
//
// Calls have the scheme "grpc", the host and port of the channel's target, and the full method,
// which rules match as grpcMethod. Each service of a target learns apart, unless
// [Options].ShareWithHTTP says otherwise. A target that isn't dns or passthrough is its own host:
// "unix:/run/orders.sock", "xds:orders".
//
// # Outcomes
//
//	UNAVAILABLE from the server      overloaded: holds the target for a RetryInfo or a pushback
//	RESOURCE_EXHAUSTED from it       overloaded: holds the credential; repeated only where a wait is named
//	UNAVAILABLE, no answer           transient: the breaker's; not sent, if no stream was made
//	DEADLINE_EXCEEDED                transient
//	CANCELLED by the server          transient, as are INTERNAL, UNKNOWN and DATA_LOSS from it: by their share
//	the caller's own end, codes      ignored: messages that are too large or can't be encoded, credentials,
//	that this process made           interceptors further in, no network, a name that can't be resolved
//	any other code from the server   healthy
//
// RetryInfo, QuotaFailure and grpc-retry-pushback-ms are heard, and Retry-After, RateLimit and
// their kin in the metadata of gRPC answers. What a proxy answers in HTTP instead of gRPC, grpc-go
// throws away but for a code.
//
// # Service configs, criticality, nudges
//
// [ParseServiceConfig] makes rules of a gRPC service config, retry policies and all, and tells what differs.
// Calls tell their criticality in metadata where [tether.Options].CriticalityHeader names a key, and
// [ReadCriticality] lets servers read it. The key tether-config in an answer's header tells of a newer document.
//
// # Errors
//
// An error has a status ([google.golang.org/grpc/status.FromError]), unless an interceptor further in
// made it without one. After retries it is the server's last, with its details, and errors.As finds
// the *retry.Error. What was never sent has a *[tether.RejectedError], UNAVAILABLE, or
// RESOURCE_EXHAUSTED for this client's own limits, with a RetryInfo where the time is known;
// DEADLINE_EXCEEDED or CANCELLED where the caller's context ended its wait. [tether.Explain] tells the
// story of an error.
package tethergrpc
