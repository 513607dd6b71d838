package remoteconfig

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/tether-go/tether/internal/envelope"
	"github.com/tether-go/tether/internal/eventqueue"
	"github.com/tether-go/tether/internal/random"
)

// maxEvents is how many events wait for a slow observer; a poll makes three at most.
const maxEvents = 64

// ErrRunning means that Run or FetchOnce is under way already.
var ErrRunning = errors.New("remoteconfig: the watcher is running already")

// Target is what documents are for; a *tether.Engine is one.
type Target interface {
	// Apply puts a document in force, or returns an error and leaves what was in force as it was.
	// The notes say what of it was changed or not understood. It must take the same document
	// again, and must not change or keep the slice. A panic counts as an error.
	Apply(document []byte) (notes []string, err error)
}

// Readopter is a [Target] that tells a document that it was given in an earlier process from a new
// one; a *tether.Engine is one. Readopt is Apply for a document that the watcher kept in its cache,
// in force since adopted. One that has expired since is still to be taken: only a newly published
// one must not be. What a document allows for a time is to be counted from adopted, so that a
// program which restarts again and again doesn't renew it.
type Readopter interface {
	Readopt(document []byte, adopted time.Time) (notes []string, err error)
}

// Keeper is a [Target] that has more to keep for the next process than its document; a
// *tether.Engine is one, which keeps the holds that servers asked for. With [Options].CacheDir the
// watcher stores the Snapshot, at most 1 MiB, at each poll and when it ends, and hands it to
// Restore when it starts, after the document. A nil Snapshot keeps nothing. Processes that share a
// directory keep what the last of them wrote.
type Keeper interface {
	Snapshot() []byte
	Restore(snapshot []byte) error
}

// Options are settings of the program, not of a server. The zero value is the default.
type Options struct {
	// CacheDir is where the last good document, the plan of the polls and what a [Keeper] has are
	// kept, so that a restart begins with what was in force, and neither forgets a silence nor polls
	// early. It is
	// created with mode 0700 and must be for this purpose alone; processes of one user may share it. One
	// that the group or everybody may write to is not used, nor what another user but root owns. A
	// directory that can't be used costs the cache and nothing else. Default: no cache; a program that
	// dies again and again then polls up to once a minute, unless it has a Default.
	CacheDir string
	// Default is the source of a document to start with where the cache has none that is newer,
	// such as [FS] of an embed.FS. It is read once, when the watcher starts, and cached once it is in
	// force, so that it stays so after it has expired. Default: none.
	Default Source
	// Trust says whose documents are taken, from the source, the cache and Default alike. Default:
	// anybody's, so whoever can answer for the URL can publish.
	Trust Trust
	// PollInterval is the mean time between polls, PollMin to 24 h, where neither the document in
	// force names another nor the source a longer one. Default 300 s, or PollMin if that is longer.
	PollInterval time.Duration
	// PollMin is the shortest interval that the document or PollInterval may name, from 1 s to 24 h. Below
	// its default it is for tests and demonstrations, whose fleets are small. Default 30 s.
	PollMin time.Duration
	// Rand yields uniform numbers in [0, 1) for the phases and jitters; it must be safe for
	// concurrent use. Default: a source of its own, seeded by the operating system.
	Rand func() float64
	// Observe is told what happens, in order and outside every lock. It may call the watcher's
	// methods. A slow one delays the polls. Default: nobody is told.
	Observe func(Event)
}

// Watcher keeps a target up to date with a source. Its methods are safe for concurrent use.
type Watcher struct {
	source   Source
	target   Target
	preset   Source
	interval time.Duration
	floor    time.Duration // of every interval
	rand     func() float64
	events   *eventqueue.Queue[Event]
	cache    *cache        // nil: none
	wake     chan struct{} // has room for one: the plan was changed

	trust trust

	mu      sync.Mutex // guards what follows
	running bool
	started bool
	plan    plan
	wish    time.Duration // the interval that the source would like, with a document that was taken; 0: it didn't say
	began   time.Time     // the last Run
	asked   bool          // Refresh was called since the last attempt
	nudge   time.Time     // when to fetch for a nudge; zero: none is heeded
	local   bool          // the last attempt reached no server
	joined  bool          // the plan has a phase of its own among all the clients'
	told    time.Time     // when to fetch since a watch told of a change; zero: none did
	hinted  time.Time     // the last fetch of that kind began
	idle    int           // such fetches in a row that brought nothing new
	early   bool          // the last attempt was one, before the planned poll
	current *published    // in force; nil: none
	refused *published    // the newest, if the target refuses it
	why     error         // of refused
	lastErr error         // of the last poll, nil if it was good
	docErr  error         // of the cached document
	planErr error         // of the cached plan
	keptErr error         // of what the target keeps

	ring     *envelope.Ring // the newest that was followed; nil: nothing is checked
	least    uint64         // the version of the newest document that was proved
	watchErr error          // why there is no watch, if the source can; nil before the first
}

// published is a document and what is known of it. It never changes.
type published struct {
	document []byte // as it was published
	tag      string
	adopted  time.Time // when it was first put in force, maybe by an earlier process; zero: never
	facts
	vouched
}

// New returns a watcher that isn't running. It does no I/O. It returns an error for a missing
// source or target, an HTTP source that can't work, a Trust that can't be kept, or a PollInterval or
// PollMin out of range.
func New(source Source, target Target, opts Options) (*Watcher, error) {
	if source == nil || target == nil {
		return nil, errors.New("remoteconfig: a watcher needs a source and a target")
	}
	for _, part := range [...]any{source, opts.Default, target} {
		if part, ok := part.(interface{ check() error }); ok {
			if err := part.check(); err != nil {
				return nil, err
			}
		}
	}
	floor := cmp.Or(opts.PollMin, minInterval)
	if floor != bounded(floor) {
		return nil, fmt.Errorf("remoteconfig: PollMin %v is not within %v and %v",
			floor, leastInterval, maxInterval)
	}
	interval := cmp.Or(opts.PollInterval, max(defaultInterval, floor))
	if interval < floor || interval > maxInterval {
		return nil, fmt.Errorf("remoteconfig: PollInterval %v is not within %v and %v",
			interval, floor, maxInterval)
	}
	trust, err := opts.Trust.read()
	if err != nil {
		return nil, err
	}
	rand := opts.Rand
	if rand == nil {
		rand = random.New(0).Float64
	}
	w := &Watcher{
		source: source, target: target, preset: opts.Default, interval: interval,
		floor: floor, rand: rand, trust: trust, ring: trust.root,
		events: eventqueue.New(maxEvents, opts.Observe), wake: make(chan struct{}, 1),
	}
	if opts.CacheDir != "" {
		w.cache = newCache(opts.CacheDir, identity(source))
		w.cache.root = trust.root
	}
	return w, nil
}

// Run polls until ctx ends, and returns ctx.Err(). It first puts the cached document in force, or
// the default one, without waiting for the source; nothing that fails ends it. It starts no
// goroutine that outlives it. It returns [ErrRunning] at once while another Run or FetchOnce is
// under way.
//
// The first poll is at a random moment of the interval (or a tenth later), or within 60 s where
// there is no document to start with, and then once more at a random moment of the interval; or when
// the process before this one meant it to be. Later ones follow at the interval, a tenth of it to
// either side, whatever fails: the server is asked neither more often for that, nor found later once it
// is back.
//
// A source that is a [Notifier] is watched from the first poll on, in a goroutine that ends with Run.
// What it tells brings one fetch forward, to within 10 s, and moves no other poll.
func (w *Watcher) Run(ctx context.Context) error {
	if err := w.begin(); err != nil {
		return err
	}
	defer w.end()
	w.start(ctx)
	w.resume()
	watched, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	notifier, can := w.source.(Notifier)
	for w.sleep(ctx) {
		_ = w.poll(ctx) // it is in the status and the events; the loop always goes on
		if can {        // not before: polls begin at random, and so must watches
			can = false
			watching.Go(func() { w.watch(watched, notifier) })
		}
	}
	return ctx.Err()
}

// Load puts the cached document in force, or the default one, and gives a [Keeper] what it kept,
// without asking the source. Run and FetchOnce begin with the same: call Load before the first
// request where none may slip past a kill or a hold that was on. It does so once, and returns
// [ErrRunning] or nil.
func (w *Watcher) Load(ctx context.Context) error {
	if err := w.begin(); err != nil {
		return err
	}
	defer w.end()
	w.start(ctx)
	return nil
}

// FetchOnce is for programs too short-lived for Run. It puts the cached document in force, or the
// default one, and polls once if a poll is due: with a CacheDir, a program that is started every
// minute polls no more often than one that runs. Without, each call of a new watcher polls, so
// programs that start together should wait a random time first. It returns nil if there was
// nothing to do or all went well, [ErrRunning], or why there was no newer document: the error of
// the source, or of the target that refused it.
func (w *Watcher) FetchOnce(ctx context.Context) error {
	if err := w.begin(); err != nil {
		return err
	}
	defer w.end()
	w.start(ctx)
	w.mu.Lock()
	due := !w.plan.Next.After(time.Now())
	w.mu.Unlock()
	if !due {
		return nil
	}
	return w.poll(ctx)
}

// Refresh asks Run to poll soon: within 5 s, but an interval after the last attempt that may have
// reached a server, and not during the silence that a server asked for. So it never makes a client
// poll more often than usual, however often it is called. Call it when the device wakes or the
// network is back. Before the first poll, which is
// soon and at random, it does nothing.
func (w *Watcher) Refresh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked || w.plan.Attempt.IsZero() {
		return
	}
	gap := w.intervalNow()
	if w.local {
		gap = localGap
	}
	soon := later(time.Now(), w.plan.Attempt.Add(gap), w.plan.Hold)
	soon = soon.Add(between(0, refreshSpread, w.draw()))
	if soon.Before(w.plan.Next) {
		w.asked = true
		w.plan.Next = soon
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func (w *Watcher) begin() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running {
		return ErrRunning
	}
	w.running = true
	return nil
}

func (w *Watcher) end() {
	w.saveKept()
	w.events.Deliver()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = false
}

// sleep waits for the next poll, which Refresh, a watch and nudges may bring forward. It tells whether to poll.
func (w *Watcher) sleep(ctx context.Context) bool {
	for {
		more := w.heedNudge()
		w.mu.Lock()
		wait := time.Until(w.due())
		w.mu.Unlock()
		if wait <= 0 {
			return ctx.Err() == nil
		}
		timer := time.NewTimer(wait)
		wakers := []reflect.SelectCase{receive(ctx.Done()), receive(w.wake), receive(timer.C)}
		for _, newer := range more {
			wakers = append(wakers, receive(newer))
		}
		reflect.Select(wakers)
		timer.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
}

func receive(channel any) reflect.SelectCase {
	return reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(channel)}
}

// intervalNow is the mean time between polls: what the document in force says, since that is what
// its publisher means; else the program's own, or what the source would like if that is longer. It is
// called with the lock held.
func (w *Watcher) intervalNow() time.Duration {
	if w.current != nil && w.current.interval > 0 {
		return max(w.current.interval, w.floor)
	}
	return max(w.interval, w.wish)
}

// draw returns a number in [0, 1], whatever Options.Rand returns.
func (w *Watcher) draw() float64 {
	r := w.rand()
	if r >= 0 && r <= 1 {
		return r
	}
	return 0.5 // NaN or out of range: a poll must never be due in the past
}

func later(times ...time.Time) time.Time {
	latest := times[0]
	for _, t := range times[1:] {
		if t.After(latest) {
			latest = t
		}
	}
	return latest
}
