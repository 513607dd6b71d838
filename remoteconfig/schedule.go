package remoteconfig

import (
	"encoding/json"
	"math"
	"time"

	"github.com/tether-go/tether/internal/jsondoc"
)

const (
	defaultInterval = 300 * time.Second // a push reaches everybody within minutes
	minInterval     = 30 * time.Second  // a mistyped document must not become a flood
	leastInterval   = time.Second       // that a program may compile in: what is faster isn't polling
	maxInterval     = 24 * time.Hour    // nor silence clients for longer than a day
	maxBackoff      = time.Hour         // so that a server that comes back is heard within the hour
	firstWithin     = 60 * time.Second  // for a client that has no document to start with
	localGap        = 5 * time.Second   // between attempts that Refresh asks for and no server sees
	refreshSpread   = 5 * time.Second   // a network that comes back wakes all its clients at once
)

// facts are what the watcher itself reads of a document. The rest is the target's.
type facts struct {
	name     string
	version  uint64
	expires  time.Time
	interval time.Duration // 0: the document doesn't say
}

// peek reads the members that concern polling, and no others. What is missing or malformed is zero:
// whether a document is valid is for the target to say.
func peek(document []byte) facts {
	// A map, since encoding/json would match the names of struct fields in any case.
	var members map[string]json.RawMessage
	if len(document) > maxDocument || json.Unmarshal(document, &members) != nil {
		return facts{}
	}
	var f facts
	var expires, interval string
	read := func(name string, into any) { _ = json.Unmarshal(members[name], into) }
	read("document", &f.name)
	read("version", &f.version)
	read("expires", &expires)
	read("pollInterval", &interval)
	f.expires, _ = time.Parse(time.RFC3339, expires)
	if d, hinted := jsondoc.ParseDuration(interval); hinted == nil && d > 0 {
		f.interval = bounded(d)
	}
	return f
}

// bounded brings an interval that a server named between what any watcher may poll at; the watcher's
// own floor is above.
func bounded(d time.Duration) time.Duration { return min(max(d, leastInterval), maxInterval) }

// between returns the point r of the way from low to high.
func between(low, high time.Duration, r float64) time.Duration {
	return low + time.Duration(r*float64(high-low))
}

// usual is the wait after a good poll: the interval, a tenth of it to either side.
func usual(interval time.Duration, r float64) time.Duration {
	return between(interval*9/10, interval*11/10, r)
}

// backoff is the wait after failures in a row: double the interval for the first, and so on, the
// upper half of it at random. It is never below the interval, so that no failure makes a client
// ask more often than a healthy server does, and never without jitter.
func backoff(interval time.Duration, failures int, r float64) time.Duration {
	longest := max(maxBackoff, interval)
	wait := interval
	for range failures {
		if wait >= longest/2 {
			wait = longest
			break
		}
		wait *= 2
	}
	return between(max(wait/2, interval), max(wait, interval*11/10), r)
}

// held is the wait after a failure for which the server asked for silence. Everybody's silence ends
// at about the same time, so the return is spread over an interval, which is the usual rate.
func held(interval time.Duration, failures int, after time.Duration, r, s float64) time.Duration {
	after = min(after, max(maxBackoff, interval))
	wait := backoff(interval, failures, r)
	if after < wait {
		return wait
	}
	return after + phase(interval, r, s)
}

// phase is the wait of a client that joins those that poll at an interval, so that a herd that
// joins at once is polled flat from the first moment on: what is left, at a random moment, of a
// usual wait. A random moment falls more often into a longer wait, hence the root; with a phase
// that is uniform over the interval instead, some clients would be at their second poll while the
// last are at their first, and the rate half as high again.
func phase(interval time.Duration, r, s float64) time.Duration {
	const shortest, longest = 0.9, 1.1 // of usual
	whole := math.Sqrt(shortest*shortest + s*(longest*longest-shortest*shortest))
	return between(0, time.Duration(whole*float64(interval)), r)
}

// longestWait is the most that any of the above returns. A plan on disk that waits for longer was
// made by another clock.
func longestWait(interval time.Duration) time.Duration {
	return max(maxBackoff, interval*11/10) + interval*11/10 + 1
}

// firstWait is the wait of a client that starts and has no plan from before. Programs start
// together, so it is spread over all of an interval. A crash loop polls at the usual rate too,
// because most of its short lives end before the poll.
func firstWait(interval time.Duration, document bool, r, s float64) time.Duration {
	if !document {
		return between(0, min(interval, firstWithin), r)
	}
	return phase(interval, r, s)
}
