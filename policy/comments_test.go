package policy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The doc comments are what people read: they must name the range and default that the table has.
func TestDocCommentsSayWhatTheTableSays(t *testing.T) {
	docs := fieldDocs(t, "document.go", "bounds.go", "../schedule.go")
	for i := range settings {
		s := &settings[i]
		doc := docs[docKey(s.path)]
		if doc == "" {
			t.Errorf("%s has no doc comment under %s", s.path, docKey(s.path))
			continue
		}
		if s.unit == inWords {
			for i, word := range s.words {
				if !strings.Contains(doc, strconv.Quote(word)) ||
					i == int(s.builtin) && !strings.Contains(doc, "Default "+strconv.Quote(word)+".") {
					t.Errorf("%s does not name %q, or which is its default: %s", s.path, s.words, doc)
				}
			}
			continue
		}
		from := fmt.Sprintf("From %s to %s", spoken(s, s.least), spoken(s, s.most))
		if !strings.Contains(doc, from) {
			t.Errorf("%s does not say %q: %s", s.path, from, doc)
		}
		if s.builtin != unsetNumber && !strings.Contains(doc, "Default "+spoken(s, s.builtin)) {
			t.Errorf("%s does not name its default: %s", s.path, doc)
		}
	}
	span := &setting{unit: inDuration}
	every := "rom " + spoken(span, float64(minEvery)) + " to " + spoken(span, float64(maxEvery))
	for _, name := range []string{"ScheduleSettings.Every", "Schedule.Every", "Bounds.MinEvery"} {
		if !strings.Contains(docs[name], every) {
			t.Errorf("%s does not say %q", name, every)
		}
	}
	bounds := reflect.TypeFor[Bounds]()
	for i := range bounds.NumField() {
		name := bounds.Field(i).Name
		doc := docs["Bounds."+name]
		if !strings.Contains(doc, "Default") {
			t.Errorf("Bounds.%s does not name its default", name)
		}
		if !strings.Contains(doc, "oosens") && name != "MaxKill" && name != "PollMax" {
			t.Errorf("Bounds.%s does not say which way loosens", name)
		}
	}
	for name, doc := range docs {
		if doc == "" {
			t.Errorf("%s has no doc comment", name)
		}
	}
}

// docKey turns call.retryPolicy.maxAttempts into RetrySettings.MaxAttempts.
func docKey(path string) string {
	parts := strings.Split(path, ".")
	t := reflect.TypeFor[Settings]()
	for i, part := range parts {
		for j := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(j).Tag.Get("json"), ",")
			if name != part {
				continue
			}
			if i == len(parts)-1 {
				return t.Name() + "." + t.Field(j).Name
			}
			if t = t.Field(j).Type; t.Kind() == reflect.Pointer {
				t = t.Elem()
			}
			break
		}
	}
	return ""
}

// fieldDocs returns the doc comments of all exported fields as one line each.
func fieldDocs(t *testing.T, files ...string) map[string]string {
	t.Helper()
	docs := make(map[string]string)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if fields, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range fields.Fields.List {
					for _, name := range field.Names {
						if name.IsExported() {
							words := strings.Fields(field.Doc.Text())
							docs[spec.Name.Name+"."+name.Name] = strings.Join(words, " ")
						}
					}
				}
			}
			return true
		})
	}
	return docs
}

// spoken writes a value as doc comments do: 250 ms, 1 h, 1,000.
func spoken(s *setting, v float64) string {
	d := time.Duration(v)
	switch {
	case s.unit != inDuration && v >= 1000:
		return fmt.Sprintf("%d,%03d", int(v)/1000, int(v)%1000)
	case s.unit != inDuration || v == 0:
		return fmt.Sprint(v)
	case d >= time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= time.Second && d%time.Second == 0:
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return fmt.Sprintf("%d ms", d/time.Millisecond)
}
