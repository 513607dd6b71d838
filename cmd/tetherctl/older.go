package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// schemas has what each released version of the library accepts: clients that were launched with it are
// still out there.
//
//go:embed schemas/*.json
var schemas embed.FS

// versions lists the releases whose schema is kept.
func versions() (names []string) {
	files, err := schemas.ReadDir("schemas")
	if err != nil {
		panic(err) // they are compiled in
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".json"))
	}
	return names
}

// schema is the part of JSON Schema (2020-12) that the document's is written in; a test refuses any
// keyword beside. It is walked here and not by a library because what matters is what an old client
// does about a difference: ignore a member, skip a rule, or refuse the document.
type schema struct {
	Ref        string             `json:"$ref"`
	Defs       map[string]*schema `json:"$defs"`
	Type       string             `json:"type"`
	Const      any                `json:"const"`
	Enum       []any              `json:"enum"`
	AnyOf      []*schema          `json:"anyOf"`
	Minimum    *float64           `json:"minimum"`
	Maximum    *float64           `json:"maximum"`
	Pattern    string             `json:"pattern"`
	MinLength  int                `json:"minLength"`
	MaxLength  *int               `json:"maxLength"`
	MinItems   int                `json:"minItems"`
	MaxItems   *int               `json:"maxItems"`
	Items      *schema            `json:"items"`
	Properties map[string]*schema `json:"properties"`
	Additional json.RawMessage    `json:"additionalProperties"` // false, or a schema
	Required   []string           `json:"required"`
}

// difference is what clients of a version make of a document otherwise than those of today.
type difference struct {
	path, text string
	refused    bool // the whole document
}

// older compares a valid document with what the clients of a version know.
func older(version string, document []byte) ([]difference, error) {
	data, err := schemas.ReadFile("schemas/" + version + ".json")
	if err != nil {
		return nil, fmt.Errorf("no schema is kept of %q; there are: %s", version, strings.Join(versions(), ", "))
	}
	var root schema
	if err := json.Unmarshal(data, &root); err != nil {
		return nil, err
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(document))
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	w := walk{root: &root}
	w.value(&root, value, "")
	return w.found, nil
}

type walk struct {
	root  *schema
	found []difference
}

func (w *walk) refuse(path, format string, arguments ...any) {
	w.found = append(w.found, difference{path, fmt.Sprintf(format, arguments...), true})
}

// value compares a value with what is known of it.
func (w *walk) value(s *schema, v any, path string) {
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		s = w.root.Defs[name]
	}
	if len(s.AnyOf) > 0 && !slices.ContainsFunc(s.AnyOf, func(one *schema) bool {
		alone := walk{root: w.root}
		alone.value(one, v, path)
		return len(alone.found) == 0
	}) {
		w.refuse(path, "is none of what they accept")
	}
	if s.Const != nil && s.Const != v || len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		w.refuse(path, "has a value that they don't know")
	}
	kind := ""
	switch v := v.(type) {
	case map[string]any:
		kind = "object"
		w.object(s, v, path)
	case []any:
		kind = "array"
		w.array(s, v, path)
	case string:
		kind = "string"
		length := utf8.RuneCountInString(v)
		if length < s.MinLength || s.MaxLength != nil && length > *s.MaxLength || s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(v) {
			w.refuse(path, "is written in a way that they don't read")
		}
	case float64:
		kind = "number"
		if s.Type == "integer" && v == float64(int64(v)) {
			kind = "integer"
		}
		if s.Minimum != nil && v < *s.Minimum || s.Maximum != nil && v > *s.Maximum {
			w.refuse(path, "is outside of what they accept")
		}
	case bool:
		kind = "boolean"
	}
	if s.Type != "" && kind != s.Type {
		w.refuse(path, "is not of the type that they expect, %s", s.Type)
	}
}

func (w *walk) object(s *schema, members map[string]any, path string) {
	for _, name := range s.Required {
		if _, there := members[name]; !there {
			w.refuse(path, "has no %s, which they require", name)
		}
	}
	if s.Properties == nil && s.Additional == nil {
		return // any object
	}
	var rest *schema
	closed := string(s.Additional) == "false"
	if s.Additional != nil && !closed {
		rest = new(schema)
		if err := json.Unmarshal(s.Additional, rest); err != nil {
			panic(err) // it is compiled in
		}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		at := strings.TrimPrefix(path+"."+name, ".")
		switch known := s.Properties[name]; {
		case known != nil:
			w.value(known, members[name], at)
		case rest != nil:
			w.value(rest, members[name], at)
		case closed:
			w.found = append(w.found, difference{path: at,
				text: "they don't know it, and skip what it selects: rule, kill or stage"})
		default:
			w.found = append(w.found, difference{path: at, text: "they don't know it, and ignore it"})
		}
	}
}

func (w *walk) array(s *schema, items []any, path string) {
	if len(items) < s.MinItems || s.MaxItems != nil && len(items) > *s.MaxItems {
		w.refuse(path, "has a number of items that they don't accept")
	}
	if s.Items == nil {
		return
	}
	for i, item := range items {
		w.value(s.Items, item, fmt.Sprintf("%s[%d]", path, i))
	}
}
