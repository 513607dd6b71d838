package flags

import (
	"cmp"
	"strings"
)

// semVer is null for anything that isn't a version, so that the rule falls to what follows.
func (e *evaluation) semVer(n *node) value {
	if len(n.args) != n.op.exactly() {
		return value{}
	}
	left, operator, right := e.run(&n.args[0]), e.run(&n.args[1]), e.run(&n.args[2])
	if operator.kind != kindText {
		return value{}
	}
	a, ok := e.version(left)
	b, okToo := e.version(right)
	if !ok || !okToo {
		return value{}
	}
	result, ok := a.matches(operator.str(), b)
	if !ok {
		return value{}
	}
	return boolOf(result)
}

func (e *evaluation) version(v value) (version, bool) {
	if v.kind != kindText && v.kind != kindNumber {
		return version{}, false
	}
	text := e.text(v)
	if !e.read(len(text)) {
		return version{}, false
	}
	return parseVersion(text)
}

// version is a semantic version (semver.org 2.0.0) without its build metadata, which doesn't count.
// Its numbers stay text: they may have any length.
type version struct {
	major, minor, patch string
	pre                 string // with its hyphen
}

// parseVersion reads "1", "1.2" and "1.2.3-pre+build", each with or without a leading v.
func parseVersion(text string) (v version, ok bool) {
	if text != "" && (text[0] == 'v' || text[0] == 'V') {
		text = text[1:]
	}
	v.minor, v.patch = "0", "0"
	if v.major, text, ok = versionNumber(text); !ok || text == "" {
		return v, ok
	}
	if text[0] != '.' {
		return v, false
	}
	if v.minor, text, ok = versionNumber(text[1:]); !ok || text == "" {
		return v, ok
	}
	if text[0] != '.' {
		return v, false
	}
	if v.patch, text, ok = versionNumber(text[1:]); !ok {
		return v, false
	}
	rest, build, hasBuild := strings.Cut(text, "+")
	if hasBuild && !identifiers(build, true) {
		return v, false
	}
	if rest != "" && (rest[0] != '-' || !identifiers(rest[1:], false)) {
		return v, false
	}
	v.pre = rest
	return v, true
}

// versionNumber cuts a number without leading zeros off the text.
func versionNumber(text string) (number, rest string, ok bool) {
	i := 0
	for i < len(text) && isDigit(text[i]) {
		i++
	}
	return text[:i], text[i:], i == 1 || i > 1 && text[0] != '0'
}

// identifiers tells whether text is a list of them, divided by dots; numbers among them have no
// leading zeros except in build metadata.
func identifiers(text string, zeros bool) bool {
	for more := true; more; {
		var id string
		id, text, more = strings.Cut(text, ".")
		if id == "" || !zeros && len(id) > 1 && id[0] == '0' && numeric(id) {
			return false
		}
		for i := range len(id) {
			c := id[i]
			if !isDigit(c) && c != '-' && (c|0x20 < 'a' || c|0x20 > 'z') {
				return false
			}
		}
	}
	return true
}

func numeric(id string) bool {
	for i := range len(id) {
		if !isDigit(id[i]) {
			return false
		}
	}
	return true
}

func (v version) matches(operator string, target version) (result, ok bool) {
	switch operator {
	case "^":
		return v.major == target.major, true
	case "~":
		return v.major == target.major && v.minor == target.minor, true
	}
	order := v.compare(target)
	switch operator {
	case "=":
		return order == 0, true
	case "!=":
		return order != 0, true
	case "<":
		return order < 0, true
	case "<=":
		return order <= 0, true
	case ">":
		return order > 0, true
	case ">=":
		return order >= 0, true
	}
	return false, false
}

// compare orders by precedence (semver.org, section 11).
func (v version) compare(w version) int {
	return cmp.Or(compareNumbers(v.major, w.major), compareNumbers(v.minor, w.minor),
		compareNumbers(v.patch, w.patch), comparePreReleases(v.pre, w.pre))
}

func compareNumbers(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

func comparePreReleases(a, b string) int {
	if a == "" || b == "" {
		return cmp.Compare(len(b), len(a)) // a release comes after its pre-releases
	}
	a, b = a[1:], b[1:]
	for moreA, moreB := true, true; moreA && moreB; {
		var x, y string
		x, a, moreA = strings.Cut(a, ".")
		y, b, moreB = strings.Cut(b, ".")
		order := strings.Compare(x, y)
		switch xNumeric, yNumeric := numeric(x), numeric(y); {
		case xNumeric && yNumeric:
			order = compareNumbers(x, y)
		case xNumeric:
			order = -1
		case yNumeric:
			order = 1
		}
		if order != 0 {
			return order
		}
		if moreA != moreB {
			if moreB {
				return -1
			}
			return 1
		}
	}
	return 0
}
