// Package ratelimit obeys what servers say about when to come back, and brings calls back afterwards
// at the rate that the client usually has.
//
//	gate, err := ratelimit.NewGate(ratelimit.Policy{}, ratelimit.Options{})
//	if err != nil {
//		return err
//	}
//	gate.Ask()
//	if retryAt, err := gate.Take(0); err != nil {
//		return fmt.Errorf("not before %v: %w", retryAt, err)
//	}
//	began := time.Now()
//	resp, err := client.Do(req)
//	switch {
//	case err != nil:
//		gate.Failed(ratelimit.Refused)
//	case resp.StatusCode == http.StatusServiceUnavailable:
//		gate.Hold(ratelimit.ParseHeader(resp.Header, time.Now()).MinWait(resp.StatusCode))
//	default:
//		gate.Good(time.Since(began), 0)
//	}
//
// [Limiter] and [Concurrency] are the client's own limits: of calls a second, and of calls under way at
// once. Both are also useful alone, by their Wait and Acquire.
//
// [ParseHeader] reads the server's word from a response, [GRPC] from gRPC's trailers; docs/hints.md lists
// every form. [Allowance] spreads what is left of a quota. [Gate] keeps holds: nothing leaves before the
// time that the server named, and then calls leave one by one in random phase, so that clients that
// were told the same do not return together. It also learns from answers and failures how fast the
// client may send: see [Gate.Failed] and [Gate.Good].
package ratelimit
