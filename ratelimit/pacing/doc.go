// Package pacing keeps calls back while a server asks for silence, and lets them return at the client's usual
// rate.
//
//	gate, err := pacing.NewGate(pacing.Policy{}, pacing.Options{})
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
//		gate.Failed(pacing.Refused)
//	case resp.StatusCode == http.StatusServiceUnavailable:
//		gate.Hold(hint.ParseHeader(resp.Header, time.Now()).MinWait(resp.StatusCode))
//	default:
//		gate.Good(time.Since(began), 0)
//	}
//
// [Gate] keeps holds: nothing leaves before the time that the server named. Then calls leave one by one in random
// phase, so that clients that were told the same time do not return together. Answers and failures teach it how
// fast the client may send: see [Gate.Failed] and [Gate.Good]; docs/pacing.md has the law and its figures.
//
// [Allowance] spreads the rest of a server's quota over the time until there is more.
package pacing
