// Package policy is the document that steers launched clients: its types, how it is read and checked, the bounds that a
// published one is brought back to, and what a call gets from it.
//
//	doc, notes, err := policy.Parse(text)      // err is a *policy.Error that lists every mistake
//	doc, clamped := bounds.Clamp(doc, own)     // clamped lists what was looser than the bounds
//	got := policy.Compile(own, doc, bounds).Resolve("https", "api.example.com", "GET", "/v1/search", "")
//
// An application passes its own Document as tether.Options.Policy; a published one comes from tether.Engine.Apply. A
// Document is data: it is safe to read from several goroutines while none changes it. A [Compiled] is safe for
// concurrent use.
package policy
