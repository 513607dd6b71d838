// Package tether keeps launched clients tied to the servers that have to survive them. It wraps an
// [http.Client] once; from then on no failure and no surge can make its calls overwhelm the server,
// and the people who run the server can slow, steer or stop every launched client.
//
//	client, err := tether.NewClient(http.DefaultClient, tether.Options{})
//	if err != nil {
//		return err
//	}
//	resp, err := client.Get("https://api.example.com/v1/items")
//
// # A call
//
//	request -> one snapshot of the document, one target
//	  admission  kill switch -> server hold -> breaker -> pacing -> rate limit -> concurrency limit
//	  attempt    on the wire
//	  outcome    Healthy | Transient | Overloaded | Ignored, and what the server said
//	  feedback   every stage that admitted it hears the outcome exactly once
//	  again?     safe and replayable, attempts left, time left, budget -> admission again
//
// The order is fixed. A stage that says no may make the call wait for its turn, within the caller's
// deadline and at most 60 s (10 s without a deadline); a call that can't wait that long is refused
// at once with a *[RejectedError]. [CallOptions].NoWait refuses instead of waiting.
//
// # What is on by default
//
//	retries      3 attempts, full jitter from 250 ms to 5 s, idempotent methods only
//	budget       a tenth of the calls that succeed; 1 saved at the start, 2 at most when idle
//	hold         Retry-After is obeyed, up to 1 h; a 429 holds its own credential only; with nothing left
//	             of a quota calls wait for its reset, with little left they are spread
//	breaker      opens after 5 calls in a row without an answer, or half of them failing in 30 s
//	             beyond chance; open for about 1 s, one probe at a time
//	pacing       refused connections, timeouts and 503s in a row slow the client down to probes, fast
//	             answers bring it back; after a hold or a kill it returns at its usual rate
//
// Calls of [criticality.With] (or of a document's call.criticality) go first, or last and are refused first,
// where calls wait; [criticality.Handler] lets a server's own calls inherit it.
//
// Off until a [policy.Document] sets them: call and attempt timeouts, because streams and long polls exist; the
// client's own limits of attempts a second and under way; the breaker's eye for slow answers; and hedging
// ([HedgingSettings]), a second attempt beside one that is slow, within the same budget.
//
// # Periodic work
//
// [Engine.Every] runs work at a period that a published document may change, with a random first
// phase and jitter, so that clients that start together do not act together. It blocks:
//
//	go engine.Every(ctx, "sync", tether.Schedule{Every: 10 * time.Minute}, sync)
//
// # What it never does
//
// It never repeats a call that may do its work twice: POST and PATCH are repeated only with an
// Idempotency-Key, by [WithCall] (which can also make the key), or when the request provably never left. It never waits past the
// caller's deadline, nor towards one that the next attempt can't meet. It never buffers a request's
// body unless [Options].BufferBodies asks for it, changes the caller's request, or cancels a body that is being read. It starts no goroutine
// that outlives a call, and needs no closing.
//
// net/http's own transport repeats some requests by itself on a reused connection that broke: GET,
// HEAD, OPTIONS and TRACE, and what carries an Idempotency-Key. These repeats are below this
// package and count in no budget.
//
// # What comes back
//
// A call that had a response gets one, its body unread: the last attempt's, or the one before if the
// last brought none. A call that had none gets the last real error, in a *[retry.Error] that says why
// there was no further attempt, or a *[RejectedError] if nothing was sent. errors.Is and errors.As
// find both through the *url.Error of net/http. [Explain] tells the attempts and waits behind an error, and
// behind a response where [CallOptions].Explained asks for that.
//
// # Configuration
//
// [policy.Document] is both the application's own settings and what a server publishes. [Engine.Apply] puts a
// published document in force in one step; what it loosens is brought back to [Options].Bounds, by
// default to the application's own document.
package tether
