package main

import (
	"strconv"
	"sync"
	"time"
)

// The paths of the steered acts. All other acts call the first.
const (
	rootPath   = "/"
	searchPath = "/search" // answers 502 to every failEvery-th request
	exportPath = "/export" // is killed and released
	syncPath   = "/sync"   // is called by periodic work

	failEvery = 3
	callField = "Call-Number" // the same for each attempt of a call
)

// steeredPaths are what users call there, in equal parts.
var steeredPaths = [...]string{rootPath, searchPath, exportPath}

// visitCounts is what one backend saw of the steered paths until a moment.
type visitCounts struct {
	at                           time.Time
	sync, export                 int
	search, repeats, disobedient int // of search: all, not the first of their call, not allowed
}

// visits counts the requests to the steered paths. It is safe for concurrent use.
type visits struct {
	mu     sync.Mutex // guards what follows
	counts visitCounts
	seen   map[int]bool // calls that came to searchPath
	last   int          // calls with a higher number must not be repeated; 0: all may
}

// arrive counts a request and tells whether it is to fail.
func (v *visits) arrive(path, number string) bool {
	call, err := strconv.Atoi(number)
	if err != nil {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch path {
	case syncPath:
		v.counts.sync++
	case exportPath:
		v.counts.export++
	case searchPath:
		v.counts.search++
		if v.seen[call] {
			v.counts.repeats++
			if v.last > 0 && call > v.last {
				v.counts.disobedient++
			}
		}
		v.seen[call] = true
		return v.counts.search%failEvery == 0
	}
	return false
}

// forbidRepeats counts repeats of calls above a number apart from now on.
func (v *visits) forbidRepeats(above int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last = above
}

func (v *visits) until(now time.Time) visitCounts {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.counts
	c.at = now
	return c
}
