// Package endpoint names and hashes what a call asks for: its method and path.
package endpoint

import (
	"hash/maphash"
	"strings"
)

// Endpoint is what a call asks for. Two calls have comparable answers if all three members are equal.
type Endpoint struct{ Method, Path, GRPCMethod string }

// Hash names the endpoint for the life of the seed.
func (e Endpoint) Hash(seed maphash.Seed) uint64 {
	return maphash.Comparable(seed, [3]string{e.Method, e.Path, e.GRPCMethod})
}

// Place names the requests that a server is likely to count together: the endpoint without the segments of its path
// that look like the number or the key of one thing.
func (e Endpoint) Place(seed maphash.Seed) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteString(e.Method)
	h.WriteString(e.GRPCMethod)
	for segment := range strings.SplitSeq(e.Path, "/") {
		h.WriteByte('/')
		if isWord(segment) {
			h.WriteString(segment)
		}
	}
	return h.Sum64()
}

// maxSegments bounds a name.
const maxSegments = 8

// Name is the endpoint as events tell it: a segment that may be a name, a number or a secret is a star.
func (e Endpoint) Name() string {
	if e.GRPCMethod != "" {
		return e.GRPCMethod
	}
	segments := strings.Split(strings.TrimPrefix(e.Path, "/"), "/")
	more := ""
	if len(segments) > maxSegments {
		segments, more = segments[:maxSegments], "/..."
	}
	for i, s := range segments {
		if s != "" && !isWord(s) {
			segments[i] = "*"
		}
	}
	return strings.TrimSpace(e.Method + " /" + strings.Join(segments, "/") + more)
}

// isWord tells words that programmers write into paths ("items", "v2", "line-items", "ListBuckets") from what may be a
// number, a name or a secret. Where it is in doubt it says no: then places are counted together, or a star is told.
func isWord(s string) bool {
	if len(s) > 1 && len(s) <= 3 && s[0] == 'v' && strings.Trim(s[1:], "0123456789") == "" {
		return true
	}
	const most = 20
	if s == "" || len(s) > most || len(s) >= 8 && strings.Trim(s, "abcdefABCDEF") == "" { // of hex digits
		return false
	}
	consonants, small := 0, 0 // in a row; small letters since the last capital
	for i, c := range []byte(s) {
		switch {
		case c == '-' || c == '_' || c == '.':
			consonants, small = 0, 0
			continue
		case 'A' <= c && c <= 'Z':
			if i > 0 && isLetter(s[i-1]) && small < 2 { // "aB", as tokens have it
				return false
			}
			consonants, small = 0, 0
		case 'a' <= c && c <= 'z':
			small++
		default:
			return false
		}
		if consonants++; strings.IndexByte("aeiouyAEIOUY", c) >= 0 {
			consonants = 0
		}
		if consonants > 5 { // "downstream" has five
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
