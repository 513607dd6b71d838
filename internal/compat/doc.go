// Package compat tests the library together with what others make: clients that take an *http.Client
// or a RoundTripper, wrapped unchanged, and OpenTelemetry's SDK. Every client stands the same tests
// (conduct_test.go), in virtual time, against a real server that counts. The envelope library of
// in-toto reads what tetherctl signs, and the reverse. gRPC's published interoperability cases and otelgrpc go
// through the gRPC edge. It is a module of its own, so
// that none of it is in the library's go.mod.
package compat
