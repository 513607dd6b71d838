// Package hint reads a server's answer for the time to come back and for the rest of a quota.
//
//	h := hint.ParseHeader(resp.Header, time.Now())
//	if h.Verdict == hint.DontRepeat {
//		return errFailed
//	}
//	wait := h.MinWait(resp.StatusCode) // before a repeat
//
// [ParseHeader] reads the fields of an HTTP response, [GRPC] the trailers and status details of a gRPC
// answer; docs/hints.md lists every form. A [Profile] helps with a server whose values don't tell their unit.
//
// The package only reads. It keeps no state and limits no wait; package pacing does.
package hint
