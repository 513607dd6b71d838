package flags

import (
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindText
	kindList
	kindObject
)

// value is what rules work on. It is passed by value, so that a rule without lists or texts of its own
// making allocates nothing, and has four words, for the compiler keeps no larger structs in registers.
type value struct {
	kind kind
	num  float64 // of a number; 1 for true
	// ref of a text is a string, kept in the interface that it came in; of a list a []value, []any,
	// []string or another slice; of an object a map with names for keys. It is only ever data: nothing in
	// it is taken for a rule.
	ref any
}

// maxNumber is the length up to which a json.Number is read: no charge follows its digits.
const maxNumber = 1024

func boolOf(b bool) value {
	if b {
		return value{kind: kindBool, num: 1}
	}
	return value{kind: kindBool}
}

func numberOf(f float64) value { return value{kind: kindNumber, num: f} }
func textOf(s string) value    { return value{kind: kindText, ref: s} }
func listOf(l []value) value   { return value{kind: kindList, ref: l} }

// str is a text; empty for anything else.
func (v value) str() string {
	s, _ := v.ref.(string)
	return s
}

// truthy is JavaScript's, except that an empty list is false (JSONLogic, "Truthy and Falsy").
func (v value) truthy() bool {
	switch v.kind {
	case kindBool, kindNumber:
		return v.num != 0 && v.num == v.num
	case kindText:
		return v.str() != ""
	case kindList:
		return v.length() > 0
	}
	return v.kind == kindObject
}

// toValue takes what a caller put into the attributes; see [Attributes] for what counts as what.
func toValue(v any) value {
	switch typed := v.(type) {
	case nil:
		return value{}
	case string:
		return value{kind: kindText, ref: v}
	case bool:
		return boolOf(typed)
	case int:
		return numberOf(float64(typed))
	case int64:
		return numberOf(float64(typed))
	case float64:
		return numberOf(typed)
	case map[string]any, Attributes, map[string]string:
		return value{kind: kindObject, ref: v}
	case []any, []string:
		return value{kind: kindList, ref: v}
	case value: // an element of a list that a rule made
		return typed
	case json.Number:
		if len(typed) > maxNumber {
			return value{}
		}
		if f, err := strconv.ParseFloat(string(typed), 64); err == nil {
			return numberOf(f)
		}
		return value{}
	case time.Time:
		return textOf(typed.Format(time.RFC3339Nano))
	}
	return reflected(v)
}

// reflected takes the types that toValue doesn't name. None of their methods is called: they are the
// caller's code, which may block or panic.
func reflected(v any) value {
	r := reflect.ValueOf(v)
	for range 8 { // a pointer may lead to itself
		if r.Kind() != reflect.Pointer {
			break
		}
		if r = r.Elem(); r.Kind() == reflect.Invalid {
			return value{}
		}
		if r.Type() == reflect.TypeFor[time.Time]() {
			return toValue(r.Interface())
		}
	}
	switch r.Kind() {
	case reflect.String:
		return textOf(r.String())
	case reflect.Bool:
		return boolOf(r.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return numberOf(float64(r.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return numberOf(float64(r.Uint()))
	case reflect.Float32, reflect.Float64:
		return numberOf(r.Float())
	case reflect.Array:
		if r.CanAddr() {
			r = r.Slice(0, r.Len()) // Interface would copy the array
		}
		return value{kind: kindList, ref: r.Interface()}
	case reflect.Slice:
		return value{kind: kindList, ref: r.Interface()}
	case reflect.Map:
		if r.Type().Key().Kind() == reflect.String && !r.IsNil() {
			return value{kind: kindObject, ref: r.Interface()}
		}
	}
	return value{}
}

func (v value) length() int {
	switch list := v.ref.(type) {
	case []value:
		return len(list)
	case []any:
		return len(list)
	case []string:
		return len(list)
	}
	if v.kind != kindList {
		return 0
	}
	return reflect.ValueOf(v.ref).Len()
}

// element returns what stands at i, which is within the list.
func (v value) element(i int) value {
	switch list := v.ref.(type) {
	case []value:
		return list[i]
	case []any:
		return toValue(list[i])
	case []string:
		return textOf(list[i])
	}
	element := reflect.ValueOf(v.ref).Index(i)
	switch kind := element.Kind(); {
	case kind == reflect.Array && element.CanAddr(): // which Interface would copy
		return toValue(element.Addr().Interface())
	case kind == reflect.Struct && element.Type() != reflect.TypeFor[time.Time]():
		return value{}
	}
	return toValue(element.Interface())
}

// member returns one member of an object, or an element of a list by its decimal index. What isn't
// there is null.
func (v value) member(name string) value {
	switch v.kind {
	case kindList:
		i, err := strconv.Atoi(name)
		if err != nil || i < 0 || i >= v.length() || strconv.Itoa(i) != name {
			return value{}
		}
		return v.element(i)
	case kindObject:
		switch object := v.ref.(type) {
		case map[string]any:
			return toValue(object[name])
		case Attributes:
			return toValue(object[name])
		case map[string]string:
			if s, ok := object[name]; ok {
				return textOf(s)
			}
			return value{}
		}
		r := reflect.ValueOf(v.ref)
		if found := r.MapIndex(reflect.ValueOf(name).Convert(r.Type().Key())); found.IsValid() {
			return toValue(found.Interface())
		}
	}
	return value{}
}

// appendNumber writes a number as JavaScript does (ECMA-262, Number::toString).
func appendNumber(out []byte, f float64) []byte {
	size := math.Abs(f)
	switch {
	case f != f:
		return append(out, "NaN"...)
	case f == 0:
		return append(out, '0') // -0 as well
	case size > math.MaxFloat64:
		if f < 0 {
			out = append(out, '-')
		}
		return append(out, "Infinity"...)
	case size == math.Trunc(size) && size < 1<<53:
		return strconv.AppendInt(out, int64(f), 10)
	case size >= 1e-6 && size < 1e21:
		return strconv.AppendFloat(out, f, 'f', -1, 64)
	}
	start := len(out)
	out = strconv.AppendFloat(out, f, 'e', -1, 64)
	// Go writes at least two digits of exponent, JavaScript as few as there are.
	if n := len(out); n-start > 4 && out[n-2] == '0' && (out[n-3] == '-' || out[n-3] == '+') {
		out[n-2] = out[n-1]
		out = out[:n-1]
	}
	return out
}

// parseNumber is JavaScript's Number(text).
func parseNumber(text string) float64 {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0
	}
	if len(text) > 2 && text[0] == '0' {
		base := 0
		switch text[1] | 0x20 {
		case 'x':
			base = 16
		case 'o':
			base = 8
		case 'b':
			base = 2
		}
		if base != 0 {
			u, err := strconv.ParseUint(text[2:], base, 64)
			if err != nil {
				return math.NaN()
			}
			return float64(u)
		}
	}
	if f, used := decimalPrefix(text); used == len(text) {
		return f
	}
	return math.NaN()
}

// decimalPrefix reads the longest decimal number that text begins with, as JavaScript's parseFloat
// does, and tells its length; NaN and 0 without one.
func decimalPrefix(text string) (f float64, used int) {
	i, digits := 0, 0
	if i < len(text) && (text[i] == '+' || text[i] == '-') {
		i++
	}
	if strings.HasPrefix(text[i:], "Infinity") {
		sign := 1
		if text[0] == '-' {
			sign = -1
		}
		return math.Inf(sign), i + len("Infinity")
	}
	run := func() {
		for i < len(text) && text[i] >= '0' && text[i] <= '9' {
			i++
			digits++
		}
	}
	run()
	if i < len(text) && text[i] == '.' && (digits > 0 || i+1 < len(text) && isDigit(text[i+1])) {
		i++
		run()
	}
	if digits == 0 {
		return math.NaN(), 0
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		mantissa, before := i, digits
		if i++; i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		if run(); digits == before {
			i = mantissa
		}
	}
	f, _ = strconv.ParseFloat(text[:i], 64) // out of range is an infinity, as there
	return f, i
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
