package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/tether-go/tether/internal/jsondoc"
)

// StatusCode is an answer that a retry policy may name: an HTTP status from 400 to 599, or a gRPC
// code from 1 to 16, as in google.golang.org/grpc/codes. In JSON the first is a number and the
// second a name, such as 503 and "UNAVAILABLE".
type StatusCode int

// grpcCodes are the names of the gRPC codes by number; OK cannot be retried.
var Codes = [...]string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED",
	"NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
	"ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
	"UNAUTHENTICATED"}

const (
	CodeCancelled         StatusCode = 1
	CodeUnknown           StatusCode = 2
	CodeDeadlineExceeded  StatusCode = 4
	CodeResourceExhausted StatusCode = 8
	CodeInternal          StatusCode = 13
	CodeUnavailable       StatusCode = 14
	CodeDataLoss          StatusCode = 15
)

// String returns the status as a document writes it, without quotes.
func (c StatusCode) String() string {
	if c > 0 && int(c) < len(Codes) {
		return Codes[c]
	}
	return strconv.Itoa(int(c))
}

// check returns what is wrong with a code, or nil.
func (c StatusCode) check() *jsondoc.Hinted {
	if c >= 1 && int(c) < len(Codes) || c >= 400 && c <= 599 {
		return nil
	}
	return noStatus(int(c))
}

func noStatus(number int) *jsondoc.Hinted {
	return &jsondoc.Hinted{
		Problem: fmt.Sprintf("%d is not an HTTP status from 400 to 599", number),
		Hint:    `write a status such as 503, or the name of a gRPC code such as "UNAVAILABLE"`,
	}
}

// MarshalJSON writes a number for an HTTP status and a name for a gRPC code.
func (c StatusCode) MarshalJSON() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c < 400 {
		return json.Marshal(c.String())
	}
	return strconv.AppendInt(nil, int64(c), 10), nil
}

// UnmarshalJSON reads what MarshalJSON writes, and nothing else: gRPC codes have no numbers here,
// for 14 in a list of HTTP statuses is a mistake more often than not.
func (c *StatusCode) UnmarshalJSON(text []byte) error {
	if n, err := strconv.Atoi(string(text)); err == nil && len(text) == 3 && n >= 400 && n <= 599 { // as most are
		*c = StatusCode(n)
		return nil
	}
	var name string
	if json.Unmarshal(text, &name) == nil && text[0] == '"' {
		i := slices.Index(Codes[1:], name)
		if i < 0 {
			hint := `write a gRPC code such as "UNAVAILABLE"`
			if near := jsondoc.Nearest(name, Codes[1:]); near != "" {
				hint = "did you mean " + strconv.Quote(near) + "?"
			}
			return &jsondoc.Hinted{Problem: jsondoc.Quote(name) + " is not a gRPC code", Hint: hint}
		}
		*c = StatusCode(i + 1)
		return nil
	}
	var number int
	if json.Unmarshal(text, &number) != nil {
		return &jsondoc.Hinted{Problem: "is not a status",
			Hint: `write a number such as 503, or a name such as "UNAVAILABLE"`}
	}
	if number < 400 || number > 599 {
		return noStatus(number)
	}
	*c = StatusCode(number)
	return nil
}

// statusSet is a set of status codes.
type statusSet struct {
	http [4]uint64 // bit n is status 400+n
	grpc uint32    // bit n is code n
}

func newStatusSet(codes []StatusCode) statusSet {
	var s statusSet
	for _, c := range codes {
		switch {
		case c >= 400 && c <= 599:
			s.http[(c-400)/64] |= 1 << ((c - 400) % 64)
		case c > 0 && int(c) < len(Codes):
			s.grpc |= 1 << c
		}
	}
	return s
}

func (s *statusSet) HasHTTP(status int) bool {
	n := uint(status - 400)
	return n < 200 && s.http[n/64]&(1<<(n%64)) != 0
}

func (s *statusSet) hasGRPC(code uint32) bool {
	return int(code) < len(Codes) && s.grpc&(1<<code) != 0
}

func (s *statusSet) Has(c StatusCode) bool {
	if c < 400 {
		return c > 0 && s.hasGRPC(uint32(c))
	}
	return s.HasHTTP(int(c))
}

func (s statusSet) and(t statusSet) statusSet {
	for i := range s.http {
		s.http[i] &= t.http[i]
	}
	s.grpc &= t.grpc
	return s
}

func (s statusSet) or(t statusSet) statusSet {
	for i := range s.http {
		s.http[i] |= t.http[i]
	}
	s.grpc |= t.grpc
	return s
}
