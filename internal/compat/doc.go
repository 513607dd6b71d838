// Package compat tests the library together with what others make: OpenTelemetry's SDK so far. It is
// a module of its own, so that none of it is in the library's go.mod.
package compat
