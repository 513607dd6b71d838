package deptest

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// wide is the number of columns that a line may have, a tab being one.
const wide = 120

// ceilings are how often the tree breaks a rule of style that is younger than the tree. They only fall: a number that is
// exceeded fails the test, and so does one that could be lower.
var ceilings = map[string]int{
	"lines over 120 columns":                                     420,
	"vague subjects in comments of the library, per 1,000 words": 15,
}

// TestCeilingsOnlyFall: new code breaks no rule of style, and what was mended stays so.
func TestCeilingsOnlyFall(t *testing.T) {
	counted := map[string]int{}
	words, vague := 0, 0
	for _, s := range readTree(t).sources {
		counted["lines over 120 columns"] += wideLines(s.text)
		if s.library() && !s.test() {
			w, v := vagueWords(s)
			words, vague = words+w, vague+v
		}
	}
	counted["vague subjects in comments of the library, per 1,000 words"] = vague * 1000 / max(1, words)
	for _, rule := range sortedKeys(ceilings) {
		if is, most := counted[rule], ceilings[rule]; is != most {
			t.Errorf("%s: %d, the ceiling is %d; mend what is new, or lower the ceiling", rule, is, most)
		}
	}
}

func wideLines(text []byte) (n int) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if utf8.RuneCount(lines.Bytes()) > wide {
			n++
		}
	}
	return n
}

// vagueWords counts the words of a file's comments, and those that stand where a type, a function, a server or a caller
// should.
func vagueWords(s source) (words, vague int) {
	for _, group := range s.file.Comments {
		for word := range strings.FieldsSeq(group.Text()) {
			words++
			switch strings.Trim(strings.ToLower(word), ".,;:()\"'") {
			case "what", "who", "whoever", "those", "nobody":
				vague++
			}
		}
	}
	return words, vague
}

// TestCeilingRules shows each rule what breaks it.
func TestCeilingRules(t *testing.T) {
	if n := wideLines([]byte(strings.Repeat("x", 121) + "\n" + strings.Repeat("é", 120) + "\n")); n != 1 {
		t.Errorf("%d wide lines, want 1", n)
	}
}
