package target

import (
	"weak"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/clock"
	"github.com/tether-go/tether/internal/queue"
	"github.com/tether-go/tether/ratelimit"
)

// Pass is what the stages gave to one attempt.
type Pass struct {
	Ticket breaker.Ticket
	room   breaker.Room                 // where the ticket is
	Lane   *Lane                        // of the credential; nil if it was never told to wait
	Slot   *ratelimit.Slot              // among the attempts under way; nil where nothing limits them
	lent   weak.Pointer[ratelimit.Slot] // what the answer's body has instead
	lentBy *queue.Queue                 // where that place is
	SentAt clock.Moment                 // sending of the attempt
	Hedge  bool
}

// end frees the attempt's place among those under way, unless its body has that.
func (p *Pass) end() {
	p.Slot.Release()
	p.Slot = nil
}

// Lend leaves the attempt's place to the body of its answer: end frees it. It is nil where nothing limits the attempts
// under way.
func (p *Pass) Lend(line *queue.Queue) (end func()) {
	if p.Slot == nil {
		return nil
	}
	slot := p.Slot
	p.Slot, p.lent, p.lentBy = nil, weak.Make(slot), line
	return func() {
		slot.Release()
		line.WakeNext()
	}
}

// TakeBack frees the place of an answer that its repeat will replace.
func (p *Pass) TakeBack() {
	if p.lentBy != nil {
		p.lent.Value().Release()
		p.lentBy.WakeNext()
	}
}
