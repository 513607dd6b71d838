package flags

import (
	"iter"
	"maps"
	"math"
	"slices"
)

// TargetingKey is the attribute that names who a rollout is for: a user, a session, a device.
const TargetingKey = "targetingKey"

// Attributes are what rules know of a call, TargetingKey among them. They are read, never changed,
// never run as a rule; they must not be changed by others during the evaluation.
//
// Rules see booleans, strings, numbers of every Go type (as float64, so give large identifiers as
// strings), lists and maps keyed by strings; named types and pointers as what they stand for,
// json.Number as its number, time.Time as its RFC 3339 text. Anything else is null: nil, structs,
// functions, channels, complex numbers, maps with other keys. What is found under "$flagd" is never the
// caller's.
type Attributes map[string]any

// Reason tells why a value is what it is, in OpenFeature's words.
type Reason string

// The reasons of flagd. A rollout's result is TargetingMatch, too.
const (
	Static         Reason = "STATIC"          // no rule; the flag's default variant
	TargetingMatch Reason = "TARGETING_MATCH" // the rule named a variant
	Default        Reason = "DEFAULT"         // the rule gave null, or there is no default variant
	Disabled       Reason = "DISABLED"        // the flag is off; the caller's default
	Failed         Reason = "ERROR"           // the caller's default; see the ErrorCode
)

// ErrorCode tells what an evaluation failed at, in OpenFeature's words; empty without an error.
type ErrorCode string

// The errors of an evaluation. Each of them gives the caller's default.
const (
	FlagNotFound ErrorCode = "FLAG_NOT_FOUND"
	ParseError   ErrorCode = "PARSE_ERROR"   // the flag's rule can't be compiled
	TypeMismatch ErrorCode = "TYPE_MISMATCH" // the variant's value is of another type
	General      ErrorCode = "GENERAL"       // the rule named no variant, or needed too many steps
)

// Details are a value and how it came about.
type Details[T any] struct {
	Value    T
	Variant  string // empty for the caller's default, unless its type was the only trouble
	Reason   Reason
	Code     ErrorCode
	Message  string   // what went wrong, for a person; nothing of the attributes is in it
	Metadata Metadata // the set's, overlaid by the flag's
}

// Metadata is what a document says about its flags: strings, float64s and booleans. It can't be changed.
type Metadata struct{ own, under map[string]any }

// Get returns one member.
func (m Metadata) Get(name string) (value any, ok bool) {
	if value, ok = m.own[name]; !ok {
		value, ok = m.under[name]
	}
	return value, ok
}

// Len returns how many members there are.
func (m Metadata) Len() int {
	n := len(m.under)
	for name := range m.own {
		if _, twice := m.under[name]; !twice {
			n++
		}
	}
	return n
}

// All goes through the members, in no order.
func (m Metadata) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for name, value := range m.own {
			if !yield(name, value) {
				return
			}
		}
		for name, value := range m.under {
			if _, over := m.own[name]; !over && !yield(name, value) {
				return
			}
		}
	}
}

// Set is a compiled document; see [Load]. The zero Set has no flags. It never changes, so it is safe for
// concurrent use, and whoever keeps one for the length of a request sees one version of every flag.
//
// An evaluation never blocks and never panics. It takes at most 20,000 steps, which are milliseconds
// at worst: a rule that needs more, such as one over lists of lists, ends in General.
type Set struct {
	flags     map[string]*definition
	metadata  Metadata
	guards    map[string]GuardPolicy
	notes     []Problem
	bucketing int
	tally     *Tally // nil: nobody counts
}

// definition is one flag, compiled.
type definition struct {
	key         string
	keyText     value // the key, for rules
	enabled     bool
	targeted    bool   // it has a rule
	broken      string // why the rule can't run
	rule        node
	variants    map[string]*variant
	fallback    *variant // the default variant; nil: none
	metadata    Metadata
	fingerprint [32]byte
	slot        *slot // of the caller's default; nil without a tally
}

type variant struct {
	name  string
	value value
	slot  *slot // nil without a tally
}

// Keys returns the keys of all flags, sorted.
func (s *Set) Keys() []string {
	keys := make([]string, 0, len(s.flags))
	for key := range s.flags {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Metadata returns what the document says about itself.
func (s *Set) Metadata() Metadata { return s.metadata }

// Notes returns what of the document was not understood or, in lenient loading, can't work: at most 100.
func (s *Set) Notes() []Problem { return slices.Clone(s.notes) }

// Guard returns what the document's flagSettings say about a flag's guard; the zero policy, which
// is the default, where they say nothing.
func (s *Set) Guard(key string) GuardPolicy { return s.guards[key] }

// Changed returns the keys of the flags that mean something else than in an earlier set, came or
// went, sorted. A change of an evaluator, of the metadata or of the bucketing is one of every flag it
// touches.
func (s *Set) Changed(earlier *Set) []string {
	var changed []string
	for key, f := range s.flags {
		if old := earlier.flags[key]; old == nil || old.fingerprint != f.fingerprint {
			changed = append(changed, key)
		}
	}
	for key := range earlier.flags {
		if s.flags[key] == nil {
			changed = append(changed, key)
		}
	}
	slices.Sort(changed)
	return changed
}

// Variants returns the names of a flag's variants, sorted; none where there is no such flag.
func (s *Set) Variants(key string) []string {
	if f := s.flags[key]; f != nil {
		return slices.Sorted(maps.Keys(f.variants))
	}
	return nil
}

// Variant returns the name of a flag's variant for whom the attributes describe, whatever its type; empty
// where [Set.Bool] would return its fallback for another reason than the type.
func (s *Set) Variant(attributes Attributes, key string) string {
	if r := s.resolve(attributes, key); r.variant != nil {
		return r.variant.name
	}
	return ""
}

// Bool returns a flag's value for whom the attributes describe, or fallback: where there is no such flag,
// it is disabled, has no default, fails, or isn't a boolean.
func (s *Set) Bool(attributes Attributes, key string, fallback bool) bool {
	if r := s.resolve(attributes, key); r.variant != nil && r.variant.value.kind == kindBool {
		return r.variant.value.num == 1
	}
	return fallback
}

// String is Bool for text.
func (s *Set) String(attributes Attributes, key string, fallback string) string {
	if r := s.resolve(attributes, key); r.variant != nil && r.variant.value.kind == kindText {
		return r.variant.value.str()
	}
	return fallback
}

// Int is Bool for whole numbers from -(2^53-1) to 2^53-1; others are a mismatch, never cut off.
func (s *Set) Int(attributes Attributes, key string, fallback int64) int64 {
	if r := s.resolve(attributes, key); r.variant != nil {
		if i, ok := r.variant.value.integer(); ok {
			return i
		}
	}
	return fallback
}

// Float is Bool for numbers.
func (s *Set) Float(attributes Attributes, key string, fallback float64) float64 {
	if r := s.resolve(attributes, key); r.variant != nil && r.variant.value.kind == kindNumber {
		return r.variant.value.num
	}
	return fallback
}

// Object is Bool for objects. The map is a copy, the caller's own; fallback is returned as it is.
func (s *Set) Object(attributes Attributes, key string, fallback map[string]any) map[string]any {
	return s.ObjectDetails(attributes, key, fallback).Value
}

// BoolDetails is Bool and how the value came about.
func (s *Set) BoolDetails(attributes Attributes, key string, fallback bool) Details[bool] {
	return details(s.resolve(attributes, key), fallback, func(v value) (bool, bool) {
		return v.num == 1, v.kind == kindBool
	})
}

// StringDetails is String and how the value came about.
func (s *Set) StringDetails(attributes Attributes, key string, fallback string) Details[string] {
	return details(s.resolve(attributes, key), fallback, func(v value) (string, bool) {
		return v.str(), v.kind == kindText
	})
}

// IntDetails is Int and how the value came about.
func (s *Set) IntDetails(attributes Attributes, key string, fallback int64) Details[int64] {
	return details(s.resolve(attributes, key), fallback, value.integer)
}

// FloatDetails is Float and how the value came about.
func (s *Set) FloatDetails(attributes Attributes, key string, fallback float64) Details[float64] {
	return details(s.resolve(attributes, key), fallback, func(v value) (float64, bool) {
		return v.num, v.kind == kindNumber
	})
}

// ObjectDetails is Object and how the value came about.
func (s *Set) ObjectDetails(attributes Attributes, key string,
	fallback map[string]any) Details[map[string]any] {
	return details(s.resolve(attributes, key), fallback, func(v value) (map[string]any, bool) {
		object, ok := v.ref.(map[string]any)
		if !ok {
			return nil, false
		}
		return copied(object).(map[string]any), true
	})
}

func details[T any](r resolution, fallback T, read func(value) (T, bool)) Details[T] {
	why := hows[r.how]
	d := Details[T]{Value: fallback, Reason: why.reason, Code: why.code, Message: r.message()}
	if r.flag != nil {
		d.Metadata = r.flag.metadata
	}
	if r.variant == nil {
		return d
	}
	d.Variant = r.variant.name
	if v, ok := read(r.variant.value); ok {
		d.Value = v
		return d
	}
	d.Reason, d.Code, d.Message = Failed, TypeMismatch, "the variant's value is of another type"
	return d
}

// maxSafe is the largest whole number up to which a float64 holds all (JSON's interoperable range, RFC 8259,
// section 6). flagd's schema ends there.
const maxSafe = 1<<53 - 1

// integer reads a number that is whole and in that range.
func (v value) integer() (int64, bool) {
	if v.kind != kindNumber || v.num != math.Trunc(v.num) || math.Abs(v.num) > maxSafe {
		return 0, false
	}
	return int64(v.num), true
}

func copied(v any) any {
	switch v := v.(type) {
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, member := range v {
			object[name] = copied(member)
		}
		return object
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = copied(v[i])
		}
		return list
	}
	return v
}
