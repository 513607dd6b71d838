package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/envelope"
	"github.com/tether-go/tether/internal/jsondoc"
	"github.com/tether-go/tether/policy"
)

// verdict is what clients of this release make of a document. Their own code gives it: Parse, Clamp and an engine.
type verdict struct {
	cfg     policy.Document
	refused []policy.Problem // reasons to refuse the document; empty: clients take it
	skipped []policy.Problem // rules, kills, stages and routes that clients leave out
	unknown []policy.Problem // members that clients ignore
	clamped []policy.Problem // values outside of the default bounds
}

// judge asks an engine that has the document before in force; nil: none. The engine belongs to the audience of both:
// a member that only the new one names may be any client's.
func judge(document, before []byte) verdict {
	cfg, notes, err := policy.Parse(document)
	v, line := verdict{cfg: cfg}, linesOf(document)
	if err == nil {
		err = adopt(cfg, document, before)
	}
	var impossible *policy.Error
	switch {
	case errors.As(err, &impossible):
		for _, p := range impossible.Problems {
			p.Problem = "clients will refuse: " + p.Problem
			v.refused = append(v.refused, p)
		}
	case err != nil:
		p := unfit(err, cfg)
		p.Line = line(p.Path)
		v.refused = append(v.refused, p)
	}
	for _, n := range notes {
		p := policy.Problem{Path: n.Path, Line: line(n.Path)}
		if n.Kind == policy.NoteSkipped {
			p.Problem = "clients will skip " + entryOf(n.Path) + ": " + strings.TrimSuffix(n.Text, ": skipped")
			v.skipped = append(v.skipped, p)
			continue
		}
		p.Problem = "clients will ignore it: " + strings.TrimSuffix(n.Text, ": ignored")
		v.unknown = append(v.unknown, p)
	}
	if len(v.refused)+len(v.skipped) > 0 {
		return v // a skipped rule would shift the numbers of those behind it
	}
	_, clamped := policy.Bounds{}.Clamp(cfg, policy.Document{})
	for _, n := range clamped {
		asked, given, _ := strings.Cut(strings.TrimPrefix(n.Text, "asked "), ", given ")
		given, why, _ := strings.Cut(given, ": ")
		v.clamped = append(v.clamped, policy.Problem{Path: n.Path, Line: line(n.Path), Hint: why,
			Problem: fmt.Sprintf("clients will clamp %s to %s unless their own bounds allow more", asked, given)})
	}
	return v
}

// adopt returns the error of a client that has the document before and is given the next.
func adopt(cfg policy.Document, document, before []byte) error {
	audience := make(map[string]string)
	maps.Copy(audience, cfg.Audience)
	if before != nil {
		old, _, _ := policy.Parse(before)
		maps.Copy(audience, old.Audience)
	}
	engine, err := tether.New(tether.Options{Audience: audience})
	if err != nil {
		return err
	}
	if before != nil {
		// Adopted long ago, so that it may have expired since. If clients refuse it, they have none.
		_, _ = engine.Readopt(before, time.Unix(0, 0))
	}
	_, err = engine.Apply(document)
	return err
}

// unfit says where the reason of an engine's refusal stands, and what to write.
func unfit(err error, cfg policy.Document) policy.Problem {
	p := policy.Problem{Path: "version", Problem: "clients will refuse: " + strings.TrimPrefix(err.Error(), "tether: ")}
	switch {
	case errors.Is(err, tether.ErrOlder), errors.Is(err, tether.ErrSameVersion):
		p.Problem = "clients will refuse: the version doesn't rise: " + strings.TrimPrefix(err.Error(), "tether: ")
		p.Hint = "write a version above that of the document in force"
	case errors.Is(err, tether.ErrUnidentified) && cfg.Document == "", errors.Is(err, tether.ErrOtherDocument):
		p.Path = "document"
	case errors.Is(err, tether.ErrUnidentified):
		p.Hint = "write a version from 1 up"
	case errors.Is(err, tether.ErrAudience):
		p.Path = "audience"
	case errors.Is(err, tether.ErrExpired):
		p.Path, p.Hint = "expires", "name a day by which you will have published again"
		p.Problem += " at " + cfg.Expires.Format(time.RFC3339)
	}
	return p
}

// linesOf returns a function that finds the line of a path in the document; 0: unknown.
func linesOf(document []byte) func(path string) int {
	if len(document) > envelope.MaxSize {
		return func(string) int { return 0 }
	}
	doc, _ := jsondoc.Parse(document, jsondoc.Limits{Depth: 64, Values: envelope.MaxSize})
	if doc == nil {
		return func(string) int { return 0 }
	}
	return doc.Line
}

// entryOf returns the list's element that a path leads into, such as rules[1].
func entryOf(path string) string {
	if i := strings.IndexByte(path, ']'); i >= 0 {
		return path[:i+1]
	}
	return "it"
}

// tell prints the verdict and returns the exit status.
func (v verdict) tell(name string, allowUnknown bool, stderr io.Writer) (status int) {
	if len(v.refused)+len(v.skipped) > 0 || len(v.unknown) > 0 && !allowUnknown {
		status = 1
	}
	for _, list := range [][]policy.Problem{v.refused, v.skipped, v.unknown, v.clamped} {
		for _, p := range list {
			fmt.Fprintf(stderr, "%s: %s\n", place(name, p), said(p))
		}
	}
	return status
}

// payloadOf returns the document in a file's content: the whole, or what its envelope holds. The name tells which.
func payloadOf(name string, data []byte) (at string, payload []byte, e *envelope.Envelope, err error) {
	if !envelope.Is(data) {
		return name, data, nil, nil
	}
	e, err = envelope.Parse(data)
	switch {
	case err != nil:
		return name, nil, nil, refuse("%s: clients will refuse: %w", name, err)
	case e.PayloadType == envelope.RingType:
		return name, nil, nil, refuse("%s: clients will refuse: it is a key ring, not a document", name)
	case e.PayloadType != envelope.DocumentType:
		return name, nil, nil, refuse("%s: clients will refuse: %w: its payload is no document", name, envelope.ErrEnvelope)
	}
	return name + " (payload)", e.Payload, e, nil
}

// proved checks an envelope as a client would that follows the ring, or if that is nil, the first of the rings that the
// envelope carries. It returns the newest ring. Without any ring it can't check.
func proved(e *envelope.Envelope, cfg policy.Document, ring *envelope.Ring) (*envelope.Ring, error) {
	if e == nil || ring == nil && len(e.Rings) == 0 {
		return ring, nil
	}
	var err error
	if ring == nil {
		ring, err = newestOf(e.Rings)
	} else {
		ring, err = ring.Follow(e.Rings, ring)
	}
	if err == nil {
		_, err = ring.Verify(e, envelope.DocumentType)
	}
	if err != nil {
		return nil, refuse("clients will refuse: %w", err)
	}
	return ring, fits(cfg, ring)
}
