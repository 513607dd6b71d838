package tether

import (
	"net/http"
	"weak"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/clock"
	"github.com/tether-go/tether/internal/queue"
	"github.com/tether-go/tether/ratelimit"
)

// pass is what the stages gave to one attempt.
type pass struct {
	ticket breaker.Ticket
	room   breaker.Room                 // where the ticket is
	lane   *lane                        // of the credential; nil if it was never told to wait
	slot   *ratelimit.Slot              // among the attempts under way; nil where nothing limits them
	lent   weak.Pointer[ratelimit.Slot] // what the answer's body has instead
	lentBy *queue.Queue                 // where that place is
	sentAt clock.Moment                 // sending of the attempt
	hedge  bool
}

// end frees the attempt's place among those under way, unless its body has that.
func (p *pass) end() {
	p.slot.Release()
	p.slot = nil
}

// lend leaves the attempt's place to the body of its answer, and returns the answer with that body. It is a copy:
// net/http may keep the response that it made until the body ends. Nothing but the caller may keep the new body
// alive, so that one that is forgotten frees its place.
func (p *pass) lend(resp *http.Response, line *queue.Queue) *http.Response {
	if p.slot == nil {
		return resp
	}
	slot := p.slot
	p.slot, p.lent, p.lentBy = nil, weak.Make(p.slot), line
	if resp.Trailer == nil {
		resp.Trailer = make(http.Header) // net/http fills its response's when the body ends: both have the same
	}
	own := *resp
	whenEnded(&own, func() {
		slot.Release()
		line.WakeNext()
	})
	return &own
}

// takeBack frees the place of an answer that its repeat will replace.
func (p *pass) takeBack() {
	if p.lentBy != nil {
		p.lent.Value().Release()
		p.lentBy.WakeNext()
	}
}
