package flags

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tether-go/tether/internal/jsondoc"
)

// What reading a document may cost.
const (
	maxDocument = 1 << 20 // bytes
	maxDepth    = 32
	maxValues   = 100_000 // in the whole document, as in tether's own
	maxFlags    = 5_000
	maxNodes    = 2_000 // operators and their arguments in one flag's rule, $refs counted at each use
)

// Format tells which document the flags are in.
type Format uint8

const (
	// Flagd is flagd's own document: flags, $evaluators and metadata.
	Flagd Format = iota
	// Tether is tether's document as a whole, with flagd's as its member flags and what is
	// tether's own beside it in flagSettings. Its other members are not looked at: neither its version
	// nor its expiry nor for whom it is.
	Tether
)

// LoadOptions say how to read a document. The zero value reads flagd's form strictly.
type LoadOptions struct {
	// Format of the document. Default Flagd.
	Format Format
	// Lenient takes documents of others as flagd does: a flag whose rule can't be compiled ends in
	// ParseError, and what is doubtful is noted in [Set.Notes]. Strict loading, the default, refuses the
	// document for either.
	Lenient bool
	// Bucketing pins how fractional puts users into buckets, 2 or 3, where the document doesn't say
	// (flagSettings.bucketing). A change of it moves most users to other variants. Default 2.
	Bucketing int
	// Tally counts the evaluations of what is loaded. Default: nobody does.
	Tally *Tally
}

const (
	bucketing2 = 2 // flagd's since April 2026
	bucketing3 = 3 // accepted there
)

// loader reads one document.
type loader struct {
	findings
	lenient    bool
	bucketing  int
	evaluators map[string]*shared
	described  [sha256.Size]byte // digest of the set's metadata
	scratch    []byte            // of fingerprint
	set        *Set
}

// Load compiles a document of at most 1 MiB, 32 levels, 100,000 values and 5,000 flags, with at most
// 2,000 nodes in the rule of a flag. The error is a *[DocumentError] with every problem; there is no
// Set then. A document in tether's form without flags gives a Set without any.
//
// A document is refused in either mode that isn't JSON, has a member twice outside of a rule, or has a flag
// with an unknown state, without variants or with a default variant that it doesn't have.
func Load(document []byte, options LoadOptions) (*Set, error) {
	if err := options.validate(); err != nil {
		return nil, err
	}
	if len(document) > maxDocument {
		return nil, &DocumentError{[]Problem{{Problem: fmt.Sprintf("has more than %d bytes", maxDocument),
			Hint: "publish a smaller document"}}}
	}
	doc, problems := jsondoc.Parse(document, jsondoc.Limits{Depth: maxDepth, Values: maxValues,
		Opaque: func(name string) bool {
			return options.Format == Tether && name != "flags" && name != "flagSettings"
		}})
	if doc == nil {
		return nil, &DocumentError{[]Problem{Problem(problems[0])}}
	}
	return compile(doc, problems, options)
}

// LoadParsed is [Load] for tether itself, which has read the document already, within the same limits, and has found
// the problems. Its type keeps others from calling it.
func LoadParsed(document *jsondoc.Document, problems []jsondoc.Problem, options LoadOptions) (*Set, error) {
	if err := options.validate(); err != nil {
		return nil, err
	}
	if document.TooMany != nil {
		return nil, &DocumentError{[]Problem{Problem(*document.TooMany)}}
	}
	return compile(document, problems, options)
}

// compile makes a Set of what was parsed.
func compile(doc *jsondoc.Document, problems []jsondoc.Problem, options LoadOptions) (*Set, error) {
	l := loader{lenient: options.Lenient, bucketing: cmp.Or(options.Bucketing, bucketing2),
		set: &Set{flags: make(map[string]*definition)}}
	root := l.root(doc, problems, options.Format)
	if root != nil && options.Format == Tether {
		settings := root.Member("flagSettings")
		l.settings(settings)
		if flags := root.Member("flags"); flags != nil {
			l.document(flags, "flags")
		}
		l.strayGuards(settings)
	} else if root != nil {
		l.document(root, "")
	}
	if err := l.err(); err != nil {
		return nil, err
	}
	l.set.notes, l.set.bucketing = l.notes, l.bucketing
	if options.Tally != nil {
		options.Tally.attach(l.set)
	}
	return l.set, nil
}

func (o LoadOptions) validate() error {
	if o.Format > Tether {
		return fmt.Errorf("flags: Format is %d, must be Flagd or Tether", o.Format)
	}
	if o.Bucketing != 0 && o.Bucketing != bucketing2 && o.Bucketing != bucketing3 {
		return fmt.Errorf("flags: Bucketing is %d, must be 2 or 3", o.Bucketing)
	}
	return nil
}

// root takes over what parsing found. It returns nil when there is nothing to read.
func (l *loader) root(doc *jsondoc.Document, problems []jsondoc.Problem, format Format) *jsondoc.Value {
	for _, p := range problems {
		if l.matters(p.Path, format) {
			l.refused = append(l.refused, Problem(p))
		}
	}
	for _, name := range []string{"flags", "flagSettings"} { // of many, not all are listed
		if v := doc.Root.Member(name); format == Tether && !l.lenient && len(l.refused) == 0 && v != nil && v.Twice {
			l.refuse(v, name, "has a member twice", "keep one of them")
		}
	}
	if doc.Root.Kind != jsondoc.Object {
		l.refuse(&doc.Root, "", "is "+doc.Root.Kind.String()+", not an object", "")
		return nil
	}
	return &doc.Root
}

// matters tells whether a member that is there twice concerns the flags: what is twice elsewhere in
// tether's document is the engine's to refuse.
func (l *loader) matters(path string, format Format) bool {
	if format != Tether || path == "flags" || path == "flagSettings" {
		return format == Tether || !l.lenient
	}
	return !l.lenient && (strings.HasPrefix(path, "flags.") || strings.HasPrefix(path, "flagSettings."))
}

// document reads flagd's document, which stands at path.
func (l *loader) document(v *jsondoc.Value, path string) {
	if v.Kind != jsondoc.Object {
		l.refuse(v, path, "is "+v.Kind.String()+", not an object", "")
		return
	}
	l.once(v, path)
	l.unknown(v, path, "flags", "$evaluators", "metadata", "$schema")
	if metadata := v.Member("metadata"); metadata != nil {
		l.set.metadata = l.metadata(metadata, jsondoc.Join(path, "metadata"), Metadata{})
		l.described = l.digest(metadata)
	}
	l.compileEvaluators(v.Member("$evaluators"), jsondoc.Join(path, "$evaluators"))
	flags := v.Member("flags")
	path = jsondoc.Join(path, "flags")
	switch {
	case flags == nil:
		l.refuse(v, path, "is missing", `write "flags": {}`)
		return
	case flags.Kind != jsondoc.Object && flags.Kind != jsondoc.Array:
		l.refuse(flags, path, "is "+flags.Kind.String()+", not an object", "")
		return
	case len(flags.Items) > maxFlags:
		l.refuse(flags, path, fmt.Sprintf("has %d flags, more than %d", len(flags.Items), maxFlags), "")
		return
	}
	for i := range flags.Items {
		flag := &flags.Items[i]
		key, at := flag.Name, jsondoc.Join(path, flag.Name)
		if flags.Kind == jsondoc.Array {
			at = jsondoc.Index(path, i)
			name := flag.Member("key")
			if name == nil || name.Kind != jsondoc.String {
				l.refuse(flag, jsondoc.Join(at, "key"), "is missing or not a string", "name the flag")
				continue
			}
			key = name.Text
		}
		if _, twice := l.set.flags[key]; twice {
			l.refuse(flag, at, "is there twice", "keep one of them")
			continue
		}
		l.set.flags[key] = l.flag(flag, key, at, flags.Kind == jsondoc.Array)
	}
}

// once refuses an object with a member twice: two readers would read it differently.
func (l *loader) once(v *jsondoc.Value, path string) {
	if !l.lenient || !v.Twice {
		return // strict loading refuses the document for it anyway
	}
	seen := make(map[string]bool, len(v.Items))
	for i := range v.Items {
		if name := v.Items[i].Name; seen[name] {
			l.refuse(&v.Items[i], jsondoc.Join(path, name), "written twice", "keep one of them")
		} else {
			seen[name] = true
		}
	}
}

// flag reads one definition.
func (l *loader) flag(v *jsondoc.Value, key, path string, named bool) *definition {
	f := &definition{key: key, keyText: textOf(key), metadata: l.set.metadata}
	if v.Kind != jsondoc.Object {
		l.refuse(v, path, "is "+v.Kind.String()+", not an object", "")
		return f
	}
	l.once(v, path)
	known := []string{"state", "variants", "defaultVariant", "targeting", "metadata"}
	if named {
		known = append(known, "key")
	}
	l.unknown(v, path, known...)
	l.state(f, v, path)
	l.variants(f, v, path)
	if metadata := v.Member("metadata"); metadata != nil {
		f.metadata = l.metadata(metadata, jsondoc.Join(path, "metadata"), l.set.metadata)
	}
	if rule := v.Member("targeting"); rule != nil && rule.Kind != jsondoc.Null &&
		!(rule.Kind == jsondoc.Object && len(rule.Items) == 0) {
		l.targeting(f, rule, jsondoc.Join(path, "targeting"))
	}
	digest := sha256.New()
	l.fingerprint(digest, v, false)
	fmt.Fprintf(digest, "%d %x", l.bucketing, l.described)
	digest.Sum(f.fingerprint[:0])
	return f
}

func (l *loader) state(f *definition, v *jsondoc.Value, path string) {
	state := v.Member("state")
	switch {
	case state != nil && state.Kind == jsondoc.String && state.Text == "ENABLED":
		f.enabled = true
	case state != nil && state.Kind == jsondoc.String && state.Text == "DISABLED":
	case state == nil:
		l.refuse(v, jsondoc.Join(path, "state"), "is missing", `write "ENABLED" or "DISABLED"`)
	default:
		l.refuse(state, jsondoc.Join(path, "state"), "is not a state", `write "ENABLED" or "DISABLED"`)
	}
}

func (l *loader) variants(f *definition, v *jsondoc.Value, path string) {
	variants := v.Member("variants")
	at := jsondoc.Join(path, "variants")
	if variants == nil || variants.Kind != jsondoc.Object || len(variants.Items) == 0 {
		l.refuse(v, at, "is missing or empty", `write such as {"on": true, "off": false}`)
		return
	}
	l.once(variants, at)
	f.variants = make(map[string]*variant, len(variants.Items))
	all := make([]variant, len(variants.Items))
	for i := range variants.Items {
		item := &variants.Items[i]
		all[i] = variant{name: item.Name, value: literal(item)}
		f.variants[item.Name] = &all[i]
		if item.Kind == jsondoc.Null || item.Kind == jsondoc.Array {
			l.doubt(item, jsondoc.Join(at, item.Name), "is "+item.Kind.String(), "write a boolean, string, number or object")
		} else if first := &variants.Items[0]; item.Kind != first.Kind {
			l.doubt(item, jsondoc.Join(at, item.Name), "is "+item.Kind.String()+", and "+jsondoc.Quote(first.Name)+" is "+
				first.Kind.String(), "give all variants of a flag one type")
		}
		if n := all[i].value; n.kind == kindNumber && math.Abs(n.num) > maxSafe {
			l.doubt(item, jsondoc.Join(at, item.Name), "is beyond 9007199254740991, up to which every reader has the same numbers",
				"write a string")
		}
	}
	fallback := v.Member("defaultVariant")
	if fallback == nil || fallback.Kind == jsondoc.Null {
		return
	}
	if fallback.Kind == jsondoc.String && fallback.Text == "" {
		return
	}
	f.fallback = f.variants[fallback.Text]
	if fallback.Kind != jsondoc.String || f.fallback == nil {
		l.refuse(fallback, jsondoc.Join(path, "defaultVariant"), "is not the name of a variant", "")
	}
}

// metadata reads the members over those of the whole set, which all flags share.
func (l *loader) metadata(v *jsondoc.Value, path string, under Metadata) Metadata {
	if v.Kind != jsondoc.Object {
		l.doubt(v, path, "is "+v.Kind.String()+", not an object", "")
		return under
	}
	l.once(v, path)
	own := make(map[string]any, len(v.Items))
	for i := range v.Items {
		item := &v.Items[i]
		switch item.Kind {
		case jsondoc.String, jsondoc.Number, jsondoc.Bool:
			own[item.Name] = plain(item)
		default:
			l.doubt(item, jsondoc.Join(path, item.Name), "is "+item.Kind.String(),
				"write a string, number or boolean")
		}
	}
	return Metadata{own, under.own}
}

// doubt is for what strict loading refuses, and flagd takes.
func (l *loader) doubt(v *jsondoc.Value, path, problem, hint string) {
	if l.lenient {
		l.note(v, path, problem, hint)
		return
	}
	l.refuse(v, path, problem, hint)
}

// literal is a value of the document that is never a rule.
func literal(v *jsondoc.Value) value {
	switch v.Kind {
	case jsondoc.Bool:
		return boolOf(v.Text == "true")
	case jsondoc.Number:
		return numberOf(number(v))
	}
	return toValue(plain(v))
}

func number(v *jsondoc.Value) float64 {
	f, _ := strconv.ParseFloat(v.Text, 64) // out of range is an infinity
	return f
}

func plain(v *jsondoc.Value) any {
	switch v.Kind {
	case jsondoc.Bool:
		return v.Text == "true"
	case jsondoc.Number:
		return number(v)
	case jsondoc.String:
		return v.Text
	case jsondoc.Array:
		list := make([]any, len(v.Items))
		for i := range v.Items {
			list[i] = plain(&v.Items[i])
		}
		return list
	case jsondoc.Object:
		object := make(map[string]any, len(v.Items))
		for i := range v.Items {
			object[v.Items[i].Name] = plain(&v.Items[i])
		}
		return object
	}
	return nil
}
