package tethergrpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// object returns an object's members; nil if it isn't one. encoding/json alone would take the last of two
// members, and names in any case.
func (r *configReader) object(path string, raw json.RawMessage, known ...string) map[string]json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(raw))
	if token, _ := d.Token(); token != json.Delim('{') {
		r.refuse(path, "is not an object", "")
		return nil
	}
	members := make(map[string]json.RawMessage)
	for d.More() {
		token, _ := d.Token() // the text is valid
		name, _ := token.(string)
		var value json.RawMessage
		if d.Decode(&value) != nil {
			break
		}
		at := strings.TrimPrefix(path+"."+name, ".")
		switch _, twice := members[name]; {
		case twice:
			r.refuse(at, "is there twice", "keep one")
		case !slices.Contains(known, name):
			r.differ(at, "is not known: ignored")
		case string(value) == "null": // in proto3's JSON the same as absent
		default:
			members[name] = value
		}
	}
	return members
}

// list returns a list's items; one that is absent has none.
func (r *configReader) list(path string, raw json.RawMessage) (items []json.RawMessage) {
	if raw == nil {
		return nil
	}
	if err := json.Unmarshal(raw, &items); err != nil || items == nil {
		r.refuse(path, "is not a list", "")
	}
	return items
}

// names reads whom an entry is for, as gRPC methods of a match: "" for everybody.
func (r *configReader) names(path string, raw json.RawMessage) (names []string) {
	for i, item := range r.list(path, raw) {
		if len(r.out.named) == mostNames {
			r.refuse(path, "is beyond 1000 names in all", "name services rather than methods")
			break
		}
		at := fmt.Sprintf("%s[%d]", path, i)
		member := r.object(at, item, "service", "method")
		if member == nil {
			continue
		}
		service, method := r.text(at+".service", member["service"]), r.text(at+".method", member["method"])
		name := "/" + service + "/" + method
		switch {
		case strings.ContainsAny(service+method, "/* "):
			r.refuse(at, "is not a gRPC method", `write {"service": "package.Service", "method": "Method"}`)
			continue
		case service == "" && method != "":
			r.refuse(at, "has a method without its service", `write {"service": "package.Service", "method": "Method"}`)
			continue
		case service == "" && r.host == "":
			r.refuse(at, "is every method of a server, and there is no host", "say the host, or set Config.Defaults")
			continue
		case service == "":
			name = ""
		case method != "" && misspelt(service, method):
			r.refuse(at+".method", service+" has no such method", "")
		case linkedIn(service) == nil:
			r.differ(at+".service", "no descriptor of "+service+" is linked in: if it is mis-spelt it is for nothing")
		}
		if slices.Contains(r.out.named, name) {
			r.refuse(at, "is named twice", "keep one")
		}
		r.out.named, names = append(r.out.named, name), append(names, name)
	}
	if len(names) == 0 && len(r.problems) == 0 {
		r.differ(path, "names nothing: the entry is ignored")
	}
	return names
}

func (r *configReader) text(path string, raw json.RawMessage) (text string) {
	if raw != nil && (json.Unmarshal(raw, &text) != nil || string(raw) == "null") {
		r.refuse(path, "is not a string", "")
	}
	return text
}

func (r *configReader) number(path string, raw json.RawMessage) float64 {
	n, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		r.refuse(path, "is not a number", "")
		return math.NaN()
	}
	return n
}

// attempts are at most 5 (gRFC A6), and be it that the channel were made with a higher cap.
func (r *configReader) attempts(path string, raw json.RawMessage) *int {
	n, err := strconv.ParseUint(string(raw), 10, 31)
	if err != nil || n < 2 {
		r.refuse(path, "is not a whole number above 1", "write 2 or more, or leave the policy out for one attempt")
	}
	if n > maxGRPCAttempts {
		r.differ(path, "more than 5 is read as 5, as in gRPC")
	}
	attempts := int(min(n, maxGRPCAttempts))
	return &attempts
}

func (r *configReader) growth(path string, raw json.RawMessage) *float64 {
	growth := r.number(path, raw)
	switch {
	case !(growth > 0):
		r.refuse(path, "is not above 0", "write a number such as 2")
	case growth < 1:
		r.differ(path, "waits never get shorter: read as 1")
	case growth > mostGrowth:
		r.differ(path, "more than 10 is read as 10")
	}
	growth = min(max(growth, 1), mostGrowth)
	return &growth
}

func (r *configReader) backoff(path string, raw json.RawMessage) time.Duration {
	return r.bounded(path, r.duration(path, raw), leastBackoff)
}

// bounded refuses what isn't above 0 and keeps the rest to what a rule may say.
func (r *configReader) bounded(path string, d, least time.Duration) time.Duration {
	switch {
	case d <= 0:
		r.refuse(path, "is not above 0", `write a duration such as "0.5s"`)
	case d < least:
		r.differ(path, "less than "+least.String()+" is read as that")
	case d > mostDuration:
		r.differ(path, "more than 24h is read as that")
	}
	return min(max(d, least), mostDuration)
}

// duration reads the JSON form of google.protobuf.Duration: seconds with at most nine decimals, and no other
// unit. What is too long for Go is the longest.
func (r *configReader) duration(path string, raw json.RawMessage) time.Duration {
	text := r.text(path, raw)
	seconds, ok := strings.CutSuffix(text, "s")
	whole, fraction, _ := strings.Cut(strings.TrimLeft(seconds, "+-"), ".")
	n, err := strconv.ParseUint("0"+whole, 10, 64)
	d, badly := time.ParseDuration("0" + whole + "." + fraction + "s")
	switch {
	case !ok || len(seconds)-len(strings.TrimLeft(seconds, "+-")) > 1 || whole+fraction == "" || err != nil ||
		len(fraction) > 9 || strings.Trim(fraction, "0123456789") != "" || n > 315_576_000_000:
		r.refuse(path, "is not a duration of gRPC's", `write seconds such as "0.5s"`)
		return 1 // so that it isn't called too short as well
	case badly != nil:
		d = math.MaxInt64
	}
	if strings.HasPrefix(seconds, "-") {
		d = -d
	}
	return d
}
