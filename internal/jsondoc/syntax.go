package jsondoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const blank = " \t\r\n"

// syntaxProblem says why data is not JSON, in time that its size alone decides. It names the mistakes that
// encoding/json describes by the next character: "invalid character '}'" doesn't say that a comma is too many.
func syntaxProblem(data []byte) Problem {
	if bytes.HasPrefix(data, []byte("\ufeff")) {
		return Problem{Line: 1, Problem: "not JSON: it begins with a byte order mark", Hint: "save it as UTF-8 without BOM"}
	}
	var first json.RawMessage
	decoder := json.NewDecoder(bytes.NewReader(data))
	err := decoder.Decode(&first)
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return trailing(data, int(decoder.InputOffset()))
	case errors.Is(err, io.EOF):
		return Problem{Line: 1, Problem: "not JSON: it is empty", Hint: "see whether the file was written whole"}
	case !errors.As(err, &syntax):
		return Problem{Line: lineAt(data, len(data)), Problem: "not JSON: it ends too early",
			Hint: "close every brace, bracket and quote"}
	}
	at := min(max(int(syntax.Offset), 1), len(data)) - 1 // of the character that can't stand there
	before := bytes.TrimRight(data[:at], blank)
	if (data[at] == '}' || data[at] == ']') && bytes.HasSuffix(before, []byte{','}) {
		return Problem{Line: lineAt(data, len(before)), Hint: "remove the comma",
			Problem: fmt.Sprintf("not JSON: a comma stands before %q", data[at])}
	}
	return Problem{Line: lineAt(data, at), Problem: fmt.Sprintf("not JSON: %v", err),
		Hint: "check it with a JSON formatter"}
}

// trailing tells of the text behind the value that ends at end.
func trailing(data []byte, end int) Problem {
	rest := bytes.TrimLeft(data[end:], blank)
	p := Problem{Line: lineAt(data, len(data)-len(rest)), Problem: "not JSON: more text follows the document's end",
		Hint: "remove it"}
	if len(rest) > 0 && rest[0] == '{' {
		p.Problem, p.Hint = "not JSON: a second document follows the first", "keep one document in a file"
	}
	return p
}

// lineAt returns the line of the byte at an offset.
func lineAt(data []byte, at int) int { return 1 + bytes.Count(data[:at], []byte{'\n'}) }
