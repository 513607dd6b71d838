package jsondoc

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzCompact: a value that was read is kept as json.Marshal writes it, so that it is the same when it is read again.
func FuzzCompact(f *testing.F) {
	for _, seed := range []string{
		`null`, "\n\t{ \"a b\" : [ 1 ,\r\n\"<&>\" ] }", "\"\u2028\u2029\u202a\u2728\"",
		`"\\\"\u0022 \\"`, `"\\" `, `{}`, `"é"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		doc, _ := Parse(value, Limits{Depth: 100, Values: 10_000})
		if doc == nil {
			return
		}
		var got json.RawMessage
		binder := Binder{Doc: doc}
		binder.Bind(&doc.Root, "", &got)
		want, err := json.Marshal(json.RawMessage(doc.Raw(&doc.Root)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q is kept as %q, want %q, %v", value, got, want, err)
		}
	})
}
