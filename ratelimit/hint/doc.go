// Package hint reads a server's answer for the time to come back and for what is left of a quota.
//
//	h := hint.ParseHeader(resp.Header, time.Now())
//	if h.Verdict == hint.DontRepeat {
//		return errFailed
//	}
//	wait := h.MinWait(resp.StatusCode) // before a repeat
//
// [ParseHeader] reads the fields of an HTTP response, [GRPC] what a gRPC answer has in trailers and status
// details; docs/hints.md lists every form. A [Profile] helps with a server whose values don't tell their unit.
//
// The package only reads. It keeps no state and limits no wait; package pacing does.
package hint
