package tethertest

import (
	"fmt"
	"slices"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/criticality"
)

// Report is what came of a rehearsal. "In the fault" without a fault is all the time behind Warm.
type Report struct {
	Calls    int
	Attempts float64 // that arrived in the fault, per call that was asked for in it

	// PeakIn and PeakAfter are the busiest second at the server, in and after the fault, over its capacity.
	PeakIn, PeakAfter float64
	// Goodput is what was answered in time in the fault, of what was possible: the smaller of the
	// capacity left and the demand.
	Goodput float64
	// Served is what was answered in time in the fault, of what was asked for in it.
	Served float64
	// Waste is the share of the server's work that was for callers that had gone, from the fault's
	// beginning to 30 s behind its end.
	Waste float64
	// Recovery is the time from the fault's end until demand is served for good: at least 97 % of what
	// is asked for in a second and 99 % in five. Negative: never.
	Recovery time.Duration
	// Lost is the most that was behind with demand after the fault, in seconds of usual demand.
	Lost float64
	// OKIn and OKAfter are the shares of calls that succeeded, of those asked for in the fault and in
	// the 30 s behind it. OK is of all.
	OKIn, OKAfter, OK float64
	// OKInBy is OKIn by criticality, where the rehearsal has shares of it.
	OKInBy map[criticality.Level]float64
	// Mean, P50 and P99 are of the times to an answer, of all calls that succeeded.
	Mean, P50, P99 time.Duration
	// Herd is the busiest 100 ms in the 10 s behind the fault, over the mean demand.
	Herd float64
	// SentIn is how many attempts arrived in the fault.
	SentIn int
	// Delayed is how many calls began their first attempt over 10 ms late, or never, while Untouched
	// counts those whose attempts all succeeded.
	Delayed, Untouched int
	// Refused is how many calls the client itself refused.
	Refused   int
	RefusedBy map[tether.Stage]int
	// UntouchedP99 is the 99th percentile of the calls that met no failure.
	UntouchedP99 time.Duration
	// PerSecond is what happened in each second.
	PerSecond []Second
}

// Second counts what happened in one second.
type Second struct{ Asked, Sent, Served, Wasted int }

func newReport(r Rehearsal, l *log, began time.Time) Report {
	from, to := began.Add(r.Warm), began.Add(r.Warm+r.Fault.For)
	ends := to.Add(r.After)
	inTo := to
	if r.Fault.For == 0 {
		inTo = ends
	}
	in := func(t time.Time) bool { return !t.Before(from) && t.Before(inTo) }
	after := func(t time.Time) bool { return !t.Before(to) && t.Before(ends) }
	rep := Report{Calls: len(l.calls), RefusedBy: make(map[tether.Stage]int),
		OKInBy: make(map[criticality.Level]float64)}
	var askedBy, okBy [3]int // from Sheddable on
	var asked, askedIn, okIn, served, ok30, all30, oks int
	var took, untouched []time.Duration
	bins := make([]Second, int(ends.Sub(began)/bin)+1)
	at := func(t time.Time) *Second { return &bins[min(max(int(t.Sub(began)/bin), 0), len(bins)-1)] }
	for _, c := range l.calls {
		asked++
		at(c.asked).Asked++
		if c.ok {
			oks++
			at(c.ended).Served++
			took = append(took, c.ended.Sub(c.asked))
		}
		if in(c.asked) {
			askedIn++
			askedBy[c.criticality-criticality.Sheddable]++
			if c.ok {
				okIn++
				okBy[c.criticality-criticality.Sheddable]++
			}
		}
		if in(c.ended) && c.ok {
			served++
		}
		if after(c.asked) && c.asked.Before(to.Add(30*time.Second)) {
			all30++
			if c.ok {
				ok30++
			}
		}
		if c.refused != nil {
			rep.Refused++
			rep.RefusedBy[c.refused.Stage]++
		}
		if !c.failed && (c.sent.IsZero() || c.sent.Sub(c.asked) > 10*time.Millisecond) {
			rep.Delayed++
		}
		if !c.failed && c.ok {
			rep.Untouched++
			untouched = append(untouched, c.ended.Sub(c.asked))
		}
	}
	for _, t := range l.attempts {
		at(t).Sent++
		if in(t) {
			rep.SentIn++
		}
	}
	worked, wasted := 0, 0
	counts := func(t time.Time) bool { return !t.Before(from) && t.Before(inTo.Add(30*time.Second)) }
	for _, t := range l.worked {
		if counts(t) {
			worked++
		}
	}
	for _, t := range l.wasted {
		at(t).Wasted++
		if counts(t) {
			wasted++
		}
	}
	capacity := r.Backend.capacity()
	demand := r.Rate * float64(r.Clients)
	rep.Attempts = ratio(rep.SentIn, askedIn)
	rep.Served = ratio(served, askedIn)
	left := capacity * r.Fault.Capacity / r.Fault.Slower
	if r.Fault.Down || r.Fault.Closed != 0 {
		left = 0
	}
	if possible := min(left*inTo.Sub(from).Seconds(), float64(askedIn)); possible > 0 {
		rep.Goodput = float64(served) / possible
	}
	rep.Waste = ratio(wasted, worked)
	rep.OKIn, rep.OKAfter, rep.OK = ratio(okIn, askedIn), ratio(ok30, all30), ratio(oks, asked)
	for i, n := range askedBy {
		if n > 0 {
			rep.OKInBy[criticality.Sheddable+criticality.Level(i)] = ratio(okBy[i], n)
		}
	}
	rep.Mean = mean(took)
	rep.P50, rep.P99 = quantile(took, 0.5), quantile(took, 0.99)
	rep.UntouchedP99 = quantile(untouched, 0.99)
	first, last := int(from.Sub(began)/bin), int(inTo.Sub(began)/bin)
	rep.PeakIn = busiest(bins[first:last]) / capacity
	if r.Fault.For > 0 {
		tail := bins[last : len(bins)-1]
		rep.PeakAfter = busiest(tail) / capacity
		rep.Recovery = recovery(tail)
		rep.Lost = behind(tail) / demand
		rep.Herd = herd(l.attempts, to, to.Add(10*time.Second)) / (demand * bin.Seconds())
	}
	rep.PerSecond = sums(bins, int(time.Second/bin))
	return rep
}

// bin is what figures over time are made of.
const bin = 100 * time.Millisecond

func ratio(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func mean(all []time.Duration) time.Duration {
	var sum time.Duration
	for _, d := range all {
		sum += d
	}
	return sum / time.Duration(max(1, len(all)))
}

func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)]
}

// busiest is the most that was sent in any second.
func busiest(bins []Second) float64 {
	const second = int(time.Second / bin)
	most, sum := 0, 0
	for i, b := range bins {
		sum += b.Sent
		if i >= second {
			sum -= bins[i-second].Sent
		}
		most = max(most, sum)
	}
	return float64(most)
}

// recovery finds the first moment from which on demand is served for good.
func recovery(bins []Second) time.Duration {
	const second = int(time.Second / bin)
	good := func(i, n int, share float64) bool {
		asked, served := 0, 0
		for _, b := range bins[i:min(i+n, len(bins))] {
			asked += b.Asked
			served += b.Served
		}
		return float64(served) >= share*float64(asked)
	}
	since := -1
	for i := len(bins) - 5*second; i >= 0 && good(i, 5*second, 0.97); i-- { // no relapse
		if good(i, second, 0.97) && good(i, 5*second, 0.99) {
			since = i
		}
	}
	if since < 0 {
		return -1
	}
	return time.Duration(since) * bin
}

// herd is the most that arrived in any 100 ms.
func herd(attempts []time.Time, from, to time.Time) float64 {
	most, first := 0, 0
	for i, t := range attempts {
		for t.Sub(attempts[first]) >= bin {
			first++
		}
		if !t.Before(from) && t.Before(to) {
			most = max(most, i-first+1)
		}
	}
	return float64(most)
}

// behind is the most calls that were asked for and not served up to some moment.
func behind(bins []Second) float64 {
	most, sum := 0, 0
	for _, b := range bins {
		sum += b.Asked - b.Served
		most = max(most, sum)
	}
	return float64(most)
}

func sums(bins []Second, n int) []Second {
	var all []Second
	for i := 0; i+n <= len(bins); i += n {
		var s Second
		for _, b := range bins[i : i+n] {
			s.Asked += b.Asked
			s.Sent += b.Sent
			s.Served += b.Served
			s.Wasted += b.Wasted
		}
		all = append(all, s)
	}
	return all
}

// String returns the figures in one line.
func (r Report) String() string {
	return fmt.Sprintf("%.3f att/call, peak %.2f/%.2f, good %.1f%%, served %.1f%%, waste %.1f%%, rec %.1fs, "+
		"lost %.2fs, ok %.1f/%.2f/%.3f%%, p50 %v p99 %v (%v), herd %.2f, delayed %d, refused %d of %d %v",
		r.Attempts, r.PeakIn, r.PeakAfter, 100*r.Goodput, 100*r.Served, 100*r.Waste, r.Recovery.Seconds(),
		r.Lost, 100*r.OKIn, 100*r.OKAfter, 100*r.OK, r.P50.Round(time.Millisecond), r.P99.Round(time.Millisecond),
		r.UntouchedP99.Round(time.Millisecond), r.Herd, r.Delayed, r.Refused, r.Calls, r.RefusedBy)
}
