package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// progress shows each second as it passes: on a terminal one line for each phase, redrawn, and
// elsewhere one line for each second.
type progress struct {
	out      io.Writer
	terminal bool
	capacity int
	plan     []int // calls by second
	show     *show
}

func (p *progress) header() {
	fmt.Fprintf(p.out, "%-16s calls | %-23s | %s\n", "second, phase", "plain: attempts, served",
		"tether: attempts, served")
}

// second shows the counts of one second. Its lines fit a terminal of 80 columns.
func (p *progress) second(second int, in phase) {
	plain := p.show.plain.backend.counts().seconds[second]
	tether := p.show.tether.backend.counts().seconds[second]
	line := fmt.Sprintf("%2d s %-11s %5d | %s | %s", second+1, in.Name, p.plan[second],
		p.fleet(plain), p.fleet(tether))
	switch {
	case !p.terminal:
		fmt.Fprintln(p.out, line)
	case second == in.To-1:
		fmt.Fprintf(p.out, "\r\x1b[K%s\n", line) // the last second of a phase stays
	default:
		fmt.Fprintf(p.out, "\r\x1b[K%s", line)
	}
}

// tell shows what is done at the config server, between the seconds.
func (p *progress) tell(what string) {
	erase := ""
	if p.terminal {
		erase = "\r\x1b[K"
	}
	fmt.Fprintf(p.out, "%s  > %s\n", erase, what)
}

const barWidth = 6

// fleet draws attempts as a bar, a cell for each half of capacity, and gives what was served in
// time to callers who were still there.
func (p *progress) fleet(t tally) string {
	cells := (2*t.attempts + p.capacity/2) / p.capacity
	bar := strings.Repeat("#", min(cells, barWidth))
	if cells > barWidth {
		bar = bar[:barWidth-1] + "+"
	}
	return fmt.Sprintf("%4d/s %-*s %4d good", t.attempts, barWidth, bar, t.good)
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
