// Package remoteconfig keeps launched clients up to date with a document that the people who run a
// server publish, at a rate that N clients can't turn into a burden: N / interval, flat, whatever
// fails.
//
//	watcher, err := remoteconfig.New(remoteconfig.HTTP{URL: url}, target, remoteconfig.Options{})
//	if err != nil {
//		return err
//	}
//	go watcher.Run(ctx) // until ctx ends
//
// The target is whatever takes the document, such as a *tether.Engine. A [Source] is where it comes
// from: [HTTP], [File], [FS] or your own. [Handler] is the other end, for any web server.
//
//	Source -> Fetch(tag) -> unchanged? -> at most 1 MiB -> signatures -> Target.Apply -> cache
//
// Of a document the watcher itself reads "document", "version", "expires" and "pollInterval".
//
// Whoever can answer for the URL can publish, unless [Options].Trust names the keys whose signatures
// count; docs/signing.md has the publisher's side. Use https in any case.
//
// # On by default
//
//	first poll    at random within the interval; within 60 s without a document to start with, and
//	              then the second at random within the interval
//	interval      300 s, a tenth of it to either side; the document's pollInterval changes it within
//	              30 s ([Options].PollMin) and 24 h; without one, the server's max-age may lengthen it
//	one fetch     at most 30 s and 1 MiB
//	failure       the next poll is at the usual time; never an end for good
//	a hint        of a watch, where the source is a [Notifier]: one fetch within 10 s
//	Retry-After   obeyed, up to 1 h; the return is spread over an interval
//
// # When something fails
//
// The document in force stays, however old; [Status] says how old, and whether it is stale. One
// that the target refuses changes nothing, and the next good one is taken. With [Options].CacheDir
// the last good one is there at the next start, before the first poll and without a network, with
// the time at which it was first adopted (see [Readopter]); and what the target itself wants kept
// (see [Keeper]). A crash loop polls no more often than a program that runs: the plan of the polls
// is kept too. A cache that is damaged, full or read-only costs itself and no more. Without a
// CacheDir each start is a new client: what limits a kill's life counts from there, and a crash loop
// polls up to once a minute, unless [Options].Default has a document to start with.
//
// Run puts the cached document in force while the program goes on. Where no request may slip past
// a kill or a hold before that, call [Watcher.Load] first.
//
// # What it never does
//
// It never polls more often because something failed. It never ends because of an answer. It starts
// no goroutine that outlives Run and needs no closing. It writes nothing outside its directory, and
// follows no link there.
package remoteconfig
