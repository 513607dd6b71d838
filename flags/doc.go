// Package flags evaluates feature flags, written as flagd writes them, in the process: a launched client
// decides by itself, from the last document that it was given.
//
//	store, err := flags.New(flags.Options{})
//	if err != nil {
//		return err
//	}
//	if _, err := store.Apply(document); err != nil {
//		return err // a *flags.DocumentError: every problem; what was in force still is
//	}
//	who := flags.Attributes{flags.TargetingKey: "user-17", "country": "SE"}
//	if store.Bool(who, "checkout-v2", false) {
//		newCheckout()
//	}
//
// An evaluation takes no lock, does no I/O, allocates nothing for most rules, never blocks and never
// panics. Whatever is wrong, the answer is the default that its caller gave.
//
// A document is read strictly: an unknown operator, a reference or a variant that isn't there, a weight
// that is none refuse it whole, with the line of every mistake, and the last good one stays in force.
// [LoadOptions].Lenient takes what flagd takes.
//
// # Rules
//
// All operators of flagd (JSONLogic's, fractional, sem_ver, starts_with, ends_with), with JavaScript's
// equality and truth. Where JSONLogic leaves it open, or does what nobody expects: an attribute that is
// null counts as missing for a default of var; null is a part of no text, and substr of null is null; two
// lists or two objects are never equal. Text is measured in characters. Comparisons of more than two compare
// each with the next, and -, / and % go from left to right. A list that the one argument of arithmetic or cat
// gives is its arguments: {"max": {"var": "prices"}}.
//
// # Rollouts
//
// fractional puts a key's hash on a line. Keep what is turned on first and the total constant, and
// whoever has a feature keeps it as its share grows. How keys are hashed is pinned by the document
// (flagSettings.bucketing) or [LoadOptions].Bucketing: an upgrade of the library moves nobody.
package flags
