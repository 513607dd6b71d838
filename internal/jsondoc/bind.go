package jsondoc

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// limit is how many problems, and how many unknown members, are listed: a person reads no more, and
// a megabyte of mistakes must not become a hundred of messages.
const limit = 100

// told is how many problems, and how many unknown members, one Binder describes. After that each Bind
// describes its first alone, which tells that there are some.
const told = 1000

// Binder copies values into Go types by their json tags and collects what is wrong.
//
// It knows structs, pointers, slices, maps keyed by strings, strings, booleans, numbers,
// time.Duration (a string), time.Time (RFC 3339; kept in UTC), json.RawMessage and types with an
// UnmarshalJSON of their own, whose error may be a *Hinted. What fails to bind keeps its zero
// value. Types it does not know are a programming error, and panic.
type Binder struct {
	Doc *Document
	// Problems are the values that cannot be what the Go type needs; at most 100.
	Problems []Problem
	// Unknown are the members that no field is named after; at most 100.
	Unknown []Problem

	base              string // path of what is bound
	steps             []step // from there to the value being bound
	problems, unknown int    // described so far
	fields            map[reflect.Type]fields
}

// Bind copies v, which stands at path, into what dst points to.
func (b *Binder) Bind(v *Value, path string, dst any) {
	b.base = path
	b.bind(v, reflect.ValueOf(dst).Elem())
}

// Take returns what was found since the last Take.
func (b *Binder) Take() (problems, unknown []Problem) {
	problems, unknown = b.Problems, b.Unknown
	b.Problems, b.Unknown = nil, nil
	return problems, unknown
}

// child binds a value below the one that is bound. Its path is written only when there is something to tell.
func (b *Binder) child(v *Value, s step, dst reflect.Value) {
	b.steps = append(b.steps, s)
	b.bind(v, dst)
	b.steps = b.steps[:len(b.steps)-1]
}

func (b *Binder) problem(v *Value, problem, hint string) {
	if room(b.Problems, &b.problems) {
		b.Problems = append(b.Problems, Problem{pathTo(b.base, b.steps), v.Line, problem, hint})
	}
}

// room tells whether a list takes one more, and counts it.
func room(list []Problem, described *int) bool {
	if len(list) >= limit || len(list) > 0 && *described >= told {
		return false
	}
	*described++
	return true
}

var (
	durationType    = reflect.TypeFor[time.Duration]()
	timeType        = reflect.TypeFor[time.Time]()
	rawType         = reflect.TypeFor[json.RawMessage]()
	unmarshalerType = reflect.TypeFor[json.Unmarshaler]()
)

func (b *Binder) bind(v *Value, dst reflect.Value) {
	if len(b.Problems) >= limit {
		return // which is refused, and told at length
	}
	switch dst.Type() {
	case durationType:
		b.duration(v, dst)
		return
	case timeType:
		b.time(v, dst)
		return
	case rawType:
		b.raw(v, dst)
		return
	}
	if dst.Kind() != reflect.Pointer && reflect.PointerTo(dst.Type()).Implements(unmarshalerType) {
		b.custom(v, dst)
		return
	}
	switch dst.Kind() {
	case reflect.Pointer:
		target := reflect.New(dst.Type().Elem())
		b.bind(v, target.Elem())
		dst.Set(target)
	case reflect.Struct:
		b.structure(v, dst)
	case reflect.Slice:
		b.slice(v, dst)
	case reflect.Map:
		b.mapping(v, dst)
	default:
		b.scalar(v, dst)
	}
}

// is reports a value of another kind than the one wanted.
func (b *Binder) is(v *Value, want Kind) bool {
	if v.Kind == want {
		return true
	}
	hint := "write " + want.String()
	if v.Kind == Null {
		hint = "leave the member out for its default"
	}
	b.problem(v, "is "+v.Kind.String()+", not "+want.String(), hint)
	return false
}

func (b *Binder) duration(v *Value, dst reflect.Value) {
	if v.Kind == Number {
		b.problem(v, v.short()+" is a number, not a duration",
			`write a string with a unit, such as "0.25s" or "250ms"`)
		return
	}
	if !b.is(v, String) {
		return
	}
	d, err := ParseDuration(v.Text)
	if err != nil {
		b.problem(v, err.Problem, err.Hint)
		return
	}
	dst.SetInt(int64(d))
}

func (b *Binder) time(v *Value, dst reflect.Value) {
	if !b.is(v, String) {
		return
	}
	var t time.Time
	if err := t.UnmarshalText([]byte(v.Text)); err != nil {
		b.problem(v, Quote(v.Text)+" is not a time", `write "2026-11-22T10:00:00Z"`)
		return
	}
	dst.Set(reflect.ValueOf(t.UTC()))
}

// raw keeps a value compact and with <, > and & escaped, which is what json.Marshal makes of it, so
// that a document written and read again is the same.
func (b *Binder) raw(v *Value, dst reflect.Value) {
	dst.SetBytes(compact(b.Doc.Raw(v)))
}

func (b *Binder) custom(v *Value, dst reflect.Value) {
	target := reflect.New(dst.Type())
	err := target.Interface().(json.Unmarshaler).UnmarshalJSON(b.Doc.Raw(v))
	if err == nil {
		dst.Set(target.Elem())
		return
	}
	var hinted *Hinted
	if !errors.As(err, &hinted) {
		hinted = &Hinted{Problem: Plain(err.Error())}
	}
	b.problem(v, hinted.Problem, hinted.Hint)
}

func (b *Binder) structure(v *Value, dst reflect.Value) {
	if !b.is(v, Object) {
		return
	}
	known := b.fieldsOf(dst.Type())
	for i := range v.Items {
		member := &v.Items[i]
		if index, is := known.index[member.Name]; is {
			b.child(member, step{member.Name, -1}, dst.Field(index))
			continue
		}
		if !room(b.Unknown, &b.unknown) {
			continue
		}
		hint := ""
		if near := Nearest(member.Name, known.names); near != "" {
			hint = "did you mean " + strconv.Quote(near) + "?"
		}
		path := Join(pathTo(b.base, b.steps), member.Name)
		b.Unknown = append(b.Unknown, Problem{path, member.Line, "not known to this version", hint})
	}
}

// fieldsOf remembers the fields of the types that it has met.
func (b *Binder) fieldsOf(t reflect.Type) fields {
	f, known := b.fields[t]
	if !known {
		if b.fields == nil {
			b.fields = make(map[reflect.Type]fields)
		}
		f = fieldsOf(t)
		b.fields[t] = f
	}
	return f
}

func (b *Binder) slice(v *Value, dst reflect.Value) {
	if !b.is(v, Array) {
		return
	}
	slice := reflect.MakeSlice(dst.Type(), len(v.Items), len(v.Items))
	for i := range v.Items {
		b.child(&v.Items[i], step{index: i}, slice.Index(i))
	}
	dst.Set(slice)
}

func (b *Binder) mapping(v *Value, dst reflect.Value) {
	if !b.is(v, Object) {
		return
	}
	m := reflect.MakeMapWithSize(dst.Type(), len(v.Items))
	for i := range v.Items {
		member := &v.Items[i]
		value := reflect.New(dst.Type().Elem()).Elem()
		b.child(member, step{member.Name, -1}, value)
		m.SetMapIndex(reflect.ValueOf(member.Name).Convert(dst.Type().Key()), value)
	}
	dst.Set(m)
}

func (b *Binder) scalar(v *Value, dst reflect.Value) {
	switch dst.Kind() {
	case reflect.String:
		if b.is(v, String) {
			dst.SetString(v.Text)
		}
	case reflect.Bool:
		if b.is(v, Bool) {
			dst.SetBool(v.Text == "true")
		}
	case reflect.Int, reflect.Uint64, reflect.Float64:
		if b.is(v, Number) {
			b.number(v, dst)
		}
	default:
		b.problem(v, fmt.Sprintf("cannot be read into a %s", dst.Type()), "this is a mistake of the program")
	}
}

func (b *Binder) number(v *Value, dst reflect.Value) {
	if dst.Kind() == reflect.Float64 {
		f, err := strconv.ParseFloat(v.Text, 64)
		if err != nil {
			b.problem(v, v.short()+" is too large", "write a number that a float64 holds")
			return
		}
		dst.SetFloat(f)
		return
	}
	whole := v.whole()
	if dst.Kind() == reflect.Int {
		if i, err := strconv.ParseInt(whole, 10, strconv.IntSize); err == nil {
			dst.SetInt(i)
			return
		}
	} else if u, err := strconv.ParseUint(whole, 10, 64); err == nil {
		dst.SetUint(u)
		return
	}
	switch {
	case whole == "":
		b.problem(v, v.short()+" is not a whole number", "write it without a fraction")
	case strings.HasPrefix(whole, "-"):
		b.problem(v, v.short()+" is negative or too small", "write a whole number from 0 up")
	default:
		b.problem(v, v.short()+" is too large", "write a smaller whole number")
	}
}

// whole returns a number as digits, for JSON Schema counts 3.0 and 3e0 as integers too; "" when it
// has a fraction.
func (v *Value) whole() string {
	if !strings.ContainsAny(v.Text, ".eE") {
		return v.Text
	}
	// A number that doesn't fit is left to the caller: it stays too large with every digit.
	f, err := strconv.ParseFloat(v.Text, 64)
	if err != nil || f >= 1<<53 || f <= -1<<53 {
		return strings.TrimRight(v.Text[:1], "0123456789") + strings.Repeat("9", 30)
	}
	if f != float64(int64(f)) {
		return ""
	}
	return strconv.FormatInt(int64(f), 10)
}

// short is a number as written, for a message.
func (v *Value) short() string { return shorten(v.Text) }

// Names returns the members that a struct knows, in order.
func Names[T any]() []string { return fieldsOf(reflect.TypeFor[T]()).names }

// fields are the members that a struct knows: by json tag, in order.
type fields struct {
	names []string
	index map[string]int
}

func fieldsOf(t reflect.Type) fields {
	f := fields{index: make(map[string]int, t.NumField())}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		f.names = append(f.names, name)
		f.index[name] = i
	}
	return f
}
