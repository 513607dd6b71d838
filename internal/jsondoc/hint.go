package jsondoc

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ParseDuration reads both forms of a duration, gRPC's "0.25s" and Go's "250ms". The error says
// what is wrong and what to write.
func ParseDuration(text string) (time.Duration, *Hinted) {
	d, err := time.ParseDuration(text)
	switch {
	case err == nil:
		return d, nil
	case looksLong(text):
		return 0, &Hinted{Quote(text) + " is longer than 290 years", "write a shorter duration"}
	}
	return 0, &Hinted{Quote(text) + " is not a duration", `write "0.25s" or "250ms"`}
}

// looksLong tells a duration too long for time.Duration from one that is malformed: it is well
// formed once its digits are gone.
func looksLong(text string) bool {
	short := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '0'
		}
		return r
	}, text)
	_, err := time.ParseDuration(short)
	return err == nil
}

// FormatDuration writes a duration in gRPC's form: decimal seconds, up to nine digits after the
// point (google.protobuf.Duration in JSON). ParseDuration reads back exactly the same duration.
func FormatDuration(d time.Duration) string {
	nanos := uint64(d)
	sign := ""
	if d < 0 {
		nanos, sign = -nanos, "-"
	}
	text := sign + strconv.FormatUint(nanos/1e9, 10)
	if fraction := nanos % 1e9; fraction != 0 {
		digits := strconv.FormatUint(1e9+fraction, 10)[1:]
		text += "." + strings.TrimRight(digits, "0")
	}
	return text + "s"
}

// Quote quotes what the document says, shortened: a megabyte of mistake makes a poor message.
func Quote(text string) string { return strconv.Quote(shorten(text)) }

// Plain is a text of the document's for people who read logs: one line, of 300 bytes at most.
func Plain(text string) string { return printable(cutTo(text, 300)) }

func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

func shorten(text string) string { return cutTo(text, 48) }

func cutTo(text string, most int) string {
	if len(text) <= most {
		return text
	}
	cut := most
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}

// Nearest returns the known name that a person most likely meant, or "" when none is near: at most
// two letters off (two swapped letters are two), in a short name one.
func Nearest(name string, known []string) string {
	best, least := "", min(3, (len(name)+1)/2)
	if len(name) > 64 {
		return ""
	}
	for _, k := range known {
		if strings.EqualFold(name, k) {
			return k
		}
		if off := len(name) - len(k); max(off, -off) >= least {
			continue // that many letters are off at least
		}
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters to insert, delete or replace (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
