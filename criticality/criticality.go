// Package criticality says which calls go first where calls have to wait, and which are refused first (SRE book,
// chapter 21). A context carries the level from an incoming request to the calls that are made for it:
//
//	http.Handle("/", criticality.Handler(next, "X-Criticality"))
//	ctx = criticality.With(ctx, criticality.Critical)
//
// A server that only reads the level needs nothing else of tether. All functions are safe for concurrent use.
package criticality

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/tether-go/tether/internal/jsondoc"
)

// Level is the criticality of a call. It changes nothing while no call has to wait.
type Level int8

// The levels. A number below Default is Sheddable, one above it Critical.
const (
	Sheddable Level = -1 // its failure goes unnoticed: prefetching, suggestions, reports
	Default   Level = 0
	Critical  Level = 1 // a user waits for it and can't go on without; few calls should be
)

// String returns "sheddable", "default" or "critical".
func (l Level) String() string {
	return [...]string{"sheddable", "default", "critical"}[l.InRange()-Sheddable]
}

// InRange returns l, or the nearest level that exists.
func (l Level) InRange() Level { return min(max(l, Sheddable), Critical) }

// parse reads a word that String writes, in any case.
func parse(word string) (l Level, ok bool) {
	for l := Sheddable; l <= Critical; l++ {
		if strings.EqualFold(word, l.String()) {
			return l, true
		}
	}
	return Default, false
}

// MarshalJSON writes the word that String returns. A number out of range is an error.
func (l Level) MarshalJSON() ([]byte, error) {
	if l != l.InRange() {
		return nil, fmt.Errorf("criticality: level %d is not from -1 to 1", int8(l))
	}
	return json.Marshal(l.String())
}

// UnmarshalJSON reads a word that MarshalJSON writes.
func (l *Level) UnmarshalJSON(text []byte) error {
	var word string
	if json.Unmarshal(text, &word) == nil {
		if read, ok := parse(word); ok && word == read.String() {
			*l = read
			return nil
		}
	}
	return &jsondoc.Hinted{Problem: "is not a word that is known here",
		Hint: fmt.Sprintf("write one of %s, %s, %s", Sheddable, Default, Critical)}
}

// Write sets the header field to the level's word. For Default it removes the field.
func (l Level) Write(h http.Header, field string) {
	if l == Default {
		h.Del(field)
		return
	}
	h.Set(field, l.String())
}

// ContextKey is the key under which a context holds its Level, for types that implement [context.Context].
type ContextKey struct{}

// With returns a context whose calls have the level, over HTTP, gRPC and through an engine. A call that is made for
// another one inherits its level by the context.
func With(ctx context.Context, l Level) context.Context {
	return context.WithValue(ctx, ContextKey{}, l.InRange())
}

// From returns the level that [With] or [Handler] gave to ctx, else Default. In an attempt's context it is the
// level that the call goes by: the configuration may have lowered it.
func From(ctx context.Context) Level {
	l, _ := ctx.Value(ContextKey{}).(Level)
	return l
}

// Handler returns a handler that gives each request the level in its header field of that name, so that the calls
// made for it inherit the level. A missing or unknown value is Default. Handler believes the client: use it where
// the clients are your own.
func Handler(next http.Handler, field string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l, _ := parse(r.Header.Get(field)); l != Default {
			r = r.WithContext(With(r.Context(), l))
		}
		next.ServeHTTP(w, r)
	})
}
