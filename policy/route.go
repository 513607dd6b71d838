package policy

import (
	"maps"
	"net/url"
	"slices"
	"strconv"

	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/internal/jsondoc"
)

// RouteSettings send calls to another server by a feature flag: a share of the users, a place, a session. It
// holds for HTTP calls alone: connections of other kinds are made elsewhere.
//
// A call is decided once, by what tether.WithAttributes says of it. It keeps its path, its query and its Call
// settings; Target settings and limits are those of where it goes. A kill of either server's calls stops it.
// Its Host is the other server's, and what only the server that was asked for may see stays away, see
// [RouteBound]. It never goes from https to http.
//
// A call that the other server doesn't serve, or can't take at once, falls back: a re-attempt like any other
// (safe to repeat, within MaxAttempts and the retry budget) at the server that was asked for; a first attempt
// where nothing was sent yet. An Idempotency-Key doesn't make it safe: only one of the two has seen it. Answers that say that this caller asks too much (429) are the call's. Where the
// other server is clearly worse at the same time, the client leaves it by itself, as flags.GuardPolicy says.
type RouteSettings struct {
	// Flag is the key of a flag of the same document, or of the application's own; required with To.
	Flag string `json:"flag"`
	// To has the origin ("https://checkout2.example.com") for each variant of Flag that goes elsewhere; all
	// must be in Bounds.Routes. Calls with another variant, or for which the flag fails, go where they were
	// going. Default none.
	To map[string]string `json:"to"`
}

// RouteBound is an origin to which a document may send calls.
type RouteBound struct {
	// Origin is a scheme, a host and, if it isn't the scheme's own, a port: "https://checkout2.example.com".
	Origin string
	// SameTrust says that the origin may see whatever the servers of the application's own choice see.
	// Default false: Cookie, Authorization and Proxy-Authorization of a request are not sent to it, nor where it
	// redirects to, unless that is the origin that was asked for; Set-Cookie is not heard from there. Other fields
	// are sent, whatever they hold.
	SameTrust bool
}

// Origin is where a route goes.
type Origin struct {
	Scheme, Host string
	SameTrust    bool
}

// parseOrigin takes a URL that has nothing but an origin (RFC 6454, section 4).
func parseOrigin(text string) (o Origin, ok bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
		u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return Origin{}, false
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return Origin{}, false
		}
	}
	o.Scheme, o.Host = OriginOf(u.Scheme, u.Host)
	return o, true
}

const originHint = `write an origin such as "https://checkout2.example.com"`

// maxVariants bounds the variants of one route.
const maxVariants = 100

func (c *checker) route(path string, r *RouteSettings) {
	if r == nil {
		return
	}
	if r.Flag == "" && len(r.To) > 0 {
		c.add(path+".flag", "is missing", "name the flag whose variants go elsewhere")
	}
	if len(r.To) > maxVariants {
		c.add(path+".to", "has more than 100 variants", "merge some")
		return
	}
	for _, variant := range slices.Sorted(maps.Keys(r.To)) {
		if variant == "" { // as flags say that fail
			c.add(path+".to", "names no variant", "name a variant of the flag")
		}
		if _, ok := parseOrigin(r.To[variant]); !ok {
			c.add(jsondoc.Join(path+".to", variant), "is not an origin", originHint)
		}
	}
}

func (c *checker) routeBounds(bounds []RouteBound) {
	for i, b := range bounds {
		if _, ok := parseOrigin(b.Origin); !ok {
			c.add(jsondoc.Index("Bounds.Routes", i)+".Origin", "is not an origin", originHint)
		}
	}
}

// route returns the bound of an origin.
func (b *Bounds) route(text string) (to Origin, ok bool) {
	asked, ok := parseOrigin(text)
	if !ok {
		return Origin{}, false
	}
	for _, bound := range b.Routes {
		if to, ok := parseOrigin(bound.Origin); ok && to == asked {
			to.SameTrust = bound.SameTrust
			return to, true
		}
	}
	return Origin{}, false
}

// route takes from a document's route what the application was not built for.
func (c *clamper) route(path string, s *Settings) {
	r := s.Call.Route
	if r == nil {
		return
	}
	given := RouteSettings{Flag: r.Flag, To: make(map[string]string, len(r.To))}
	for _, variant := range slices.Sorted(maps.Keys(r.To)) {
		if _, ok := c.bounds.route(r.To[variant]); ok {
			given.To[variant] = r.To[variant]
		} else {
			c.clamped(jsondoc.Join(path+".to", variant), r.To[variant], "no route: it is not in Bounds.Routes")
		}
	}
	s.Call.Route = &given
}

// routePolicy is a route ready for use.
type routePolicy struct {
	Flag string
	To   map[string]Origin
}

// policy is nil for a route that goes nowhere.
func (r *RouteSettings) policy(b *Bounds) *routePolicy {
	if r == nil || r.Flag == "" {
		return nil
	}
	p := &routePolicy{Flag: r.Flag, To: make(map[string]Origin)}
	for variant, text := range r.To {
		if to, ok := b.route(text); ok {
			p.To[variant] = to
		}
	}
	if len(p.To) == 0 {
		return nil
	}
	return p
}

// routeDoubts names the member of a route that the document's flags don't know: one that is understood in
// part would send calls elsewhere than was meant. The application's own flags are known to its engine alone.
func routeDoubts(set *flags.Set, path string, route *RouteSettings) []jsondoc.Problem {
	if set == nil || route == nil || len(route.To) == 0 {
		return nil
	}
	path += ".call.route"
	variants := set.Variants(route.Flag)
	if len(variants) == 0 {
		return []jsondoc.Problem{{Path: path + ".flag", Problem: "is none of the document's flags"}}
	}
	for _, variant := range slices.Sorted(maps.Keys(route.To)) {
		if !slices.Contains(variants, variant) {
			return []jsondoc.Problem{{Path: jsondoc.Join(path+".to", variant), Problem: "is no variant of the flag"}}
		}
	}
	return nil
}

// skips notes the first doubt and tells whether there is one.
func (r *reader) skips(doubts []jsondoc.Problem) bool {
	if len(doubts) == 0 {
		return false
	}
	r.notes = append(r.notes, Note{doubts[0].Path, noteText(doubts[0]) + ": skipped", NoteSkipped})
	return true
}

// Is compares where two origins are.
func (o Origin) Is(other Origin) bool { return o.Scheme == other.Scheme && o.Host == other.Host }

// EndsAt tells whether the route goes there for some calls: others to there show nothing of the old way.
func (r *routePolicy) EndsAt(there Origin) bool {
	for _, to := range r.To {
		if to.Is(there) {
			return true
		}
	}
	return false
}
