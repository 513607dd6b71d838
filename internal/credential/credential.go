// Package credential finds the part of an Authorization field that names the caller and stays the same from one request
// to the next. Signatures, nonces and timestamps change with each request.
package credential

import "strings"

// params are the schemes whose parameters name the caller, by lower-case name, with the parameters that do.
var params = map[string][]string{
	"oauth":       {"oauth_consumer_key", "oauth_token"}, // RFC 5849, section 3.5.1
	"hawk":        {"id"},
	"digest":      {"username"},   // RFC 7616, section 3.4
	"signature":   {"keyid"},      // HTTP signatures (draft-cavage)
	"hmac-sha256": {"credential"}, // Azure App Configuration
}

// pairs are the schemes of the form "id:signature": Amazon's second version, Google's first, Azure's storage.
var pairs = map[string]bool{"aws": true, "goog1": true, "sharedkey": true, "sharedkeylite": true}

// Of returns what is stable of the value of an Authorization field: the scheme with the caller's name, or the whole
// value where the scheme isn't known, has no changing part (Basic, Bearer, DPoP, whose proof is in a field of its own),
// or lacks the name. Of Negotiate and NTLM, whose tokens are of one handshake, only the scheme is stable.
func Of(authorization string) string {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(authorization), " ")
	lower := strings.ToLower(scheme)
	switch {
	case lower == "negotiate" || lower == "ntlm":
		return lower
	case strings.HasPrefix(lower, "aws4-") || strings.HasPrefix(lower, "goog4-"): // Signature Version 4 and its kin
		if id, _, scoped := strings.Cut(param(rest, "credential"), "/"); scoped && id != "" {
			return lower + " " + id
		}
	case pairs[lower]:
		if id, _, ok := strings.Cut(rest, ":"); ok && id != "" {
			return lower + " " + strings.TrimSpace(id)
		}
	case params[lower] != nil:
		stable := lower
		for _, name := range params[lower] {
			stable += " " + param(rest, name)
		}
		if len(stable) > len(lower)+len(params[lower]) {
			return stable
		}
	}
	return authorization
}

// param returns the value of a parameter, "" if there is none. Parameters are separated by a comma, a semicolon, an
// ampersand or white space; a value may be quoted.
func param(list, name string) string {
	for list != "" {
		list = strings.TrimLeft(list, ",;& \t")
		end := strings.IndexAny(list, "=,;& \t")
		if end < 0 {
			return ""
		}
		is := strings.EqualFold(list[:end], name)
		if list = list[end:]; list[0] != '=' {
			continue
		}
		var value string
		value, list = cutValue(list[1:])
		if is {
			return value
		}
	}
	return ""
}

// cutValue takes a parameter's value off the front of a list.
func cutValue(list string) (value, rest string) {
	if !strings.HasPrefix(list, `"`) {
		end := strings.IndexAny(list, ",;& \t")
		if end < 0 {
			return list, ""
		}
		return list[:end], list[end:]
	}
	for i := 1; i < len(list); i++ {
		switch list[i] {
		case '\\':
			i++
		case '"':
			return list[1:i], list[i+1:]
		}
	}
	return list[1:], ""
}
