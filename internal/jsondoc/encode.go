package jsondoc

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Encode writes a struct as Binder reads it: members in the order of the fields, omitempty and
// omitzero as in encoding/json, durations in gRPC's form, times in UTC. A type's own MarshalJSON is
// called on what it holds, not on the struct itself.
func Encode(v any) ([]byte, error) { return appendStruct(nil, reflect.ValueOf(v)) }

func appendStruct(out []byte, v reflect.Value) ([]byte, error) {
	out = append(out, '{')
	first := true
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" || omitted(v.Field(i), options) {
			continue
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = append(append(append(out, '"'), name...), '"', ':')
		var err error
		if out, err = appendValue(out, v.Field(i)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return append(out, '}'), nil
}

func omitted(v reflect.Value, options string) bool {
	switch options {
	case "omitzero":
		if t, ok := v.Interface().(time.Time); ok {
			return t.IsZero()
		}
		return v.IsZero()
	case "omitempty":
		switch v.Kind() {
		case reflect.Slice, reflect.Map, reflect.String:
			return v.Len() == 0
		case reflect.Struct:
			return false
		}
		return v.IsZero()
	}
	return false
}

func appendValue(out []byte, v reflect.Value) ([]byte, error) {
	switch value := v.Interface().(type) {
	case time.Duration:
		return append(append(append(out, '"'), FormatDuration(value)...), '"'), nil
	case time.Time:
		return appendMarshalled(out, value.UTC())
	case json.Marshaler: // json.RawMessage among others
		return appendMarshalled(out, value)
	}
	switch v.Kind() {
	case reflect.Pointer:
		return appendValue(out, v.Elem())
	case reflect.Struct:
		return appendStruct(out, v)
	case reflect.Slice:
		out = append(out, '[')
		for i := range v.Len() {
			if i > 0 {
				out = append(out, ',')
			}
			var err error
			if out, err = appendValue(out, v.Index(i)); err != nil {
				return nil, err
			}
		}
		return append(out, ']'), nil
	case reflect.Map:
		return appendMap(out, v)
	}
	return appendMarshalled(out, v.Interface())
}

// appendMap writes the members in the order of their names, as encoding/json does.
func appendMap(out []byte, v reflect.Value) ([]byte, error) {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		return strings.Compare(a.String(), b.String())
	})
	out = append(out, '{')
	for i, key := range keys {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = appendMarshalled(out, key.String()); err != nil {
			return nil, err
		}
		if out, err = appendValue(append(out, ':'), v.MapIndex(key)); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

func appendMarshalled(out []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	return append(out, text...), err
}

// compact writes a valid value like json.Marshal, in one go.
func compact(value []byte) []byte {
	const digits = "0123456789abcdef"
	out, from, inside := make([]byte, 0, len(value)), 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; c {
		case '"':
			inside = !inside
		case '\\':
			i++
		case ' ', '\t', '\r', '\n':
			if !inside {
				out = append(out, value[from:i]...)
				from = i + 1
			}
		case '<', '>', '&':
			out = append(append(out, value[from:i]...), '\\', 'u', '0', '0', digits[c>>4], digits[c&0xf])
			from = i + 1
		case 0xe2: // of U+2028 and U+2029, in UTF-8
			if value[i+1] == 0x80 && value[i+2]&^1 == 0xa8 {
				out = append(append(out, value[from:i]...), '\\', 'u', '2', '0', '2', digits[value[i+2]&0xf])
				i += 2
				from = i + 1
			}
		}
	}
	return append(out, value[from:]...)
}
