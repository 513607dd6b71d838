// Package target is what an engine has learnt about one server, and what it lets pass because of that.
//
// A [Table] has the targets of an engine. A call gets in by its [Entry]; an attempt asks with [Target.Try], at the
// [Door] of the target and at that of its credential's [Lane], and keeps what it was given in a [Pass]; its [Answer] is
// told with [Target.Settle], which collects what changed in a [Settled]. While no stage restricts the target, calls pass
// its fast path: they are counted under one lock and reported to the stages every 10 ms.
//
// The package knows no HTTP, no event and no engine: the root translates one outcome into one answer.
package target
