package tether

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tether-go/tether/internal/httpwire"
	"github.com/tether-go/tether/internal/target"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/hint"
)

// gRPC over HTTP is what clients such as connect-go's send through an *http.Client: an answer's status is 200
// whatever became of the call, and gRPC's own is in the head where nothing else follows (Trailers-Only), else in
// the trailer. It is read here, by the rules of tethergrpc.

const (
	grpcStatusField   = "Grpc-Status"
	grpcPushbackField = "Grpc-Retry-Pushback-Ms" // gRFC A6, Pushback
)

// isGRPC tells gRPC and gRPC-Web by the media type (PROTOCOL-HTTP2, Requests): the name alone, or with what
// messages are encoded in, as in application/grpc+proto.
func isGRPC(header http.Header) bool {
	for _, kind := range header["Content-Type"] {
		rest, is := strings.CutPrefix(kind, "application/grpc")
		return is && (rest == "" || strings.ContainsRune("+;-", rune(rest[0])))
	}
	return false
}

// isGRPCWeb tells gRPC-Web, whose trailer is the end of the body.
func isGRPCWeb(header http.Header) bool {
	return strings.HasPrefix(header.Get("Content-Type"), "application/grpc-web")
}

// isTrailersOnly tells a gRPC answer whose head says how the call ended. A proxy's own status other than 200
// goes before whatever a server said.
func isTrailersOnly(resp *http.Response) bool {
	return resp.StatusCode == http.StatusOK && len(resp.Header[grpcStatusField]) > 0 && isGRPC(resp.Header)
}

// classifyGRPC says what an answer with those fields teaches, of its head and of its trailer.
func classifyGRPC(fields http.Header, profile hint.Profile) Outcome {
	out := Outcome{Class: Healthy, Code: grpcCode(fields), Answered: true}
	out.Hint = profile.ParseHeader(fields, time.Now())
	switch out.Code {
	case 0:
		out.Status = http.StatusOK
		return out
	case policy.CodeUnavailable:
		out.Class = Overloaded
	case policy.CodeResourceExhausted:
		out.Class, out.Partitioned = Overloaded, true
	case policy.CodeDeadlineExceeded, policy.CodeCancelled, policy.CodeInternal, policy.CodeUnknown, policy.CodeDataLoss:
		out.Class = Transient
	}
	said := hint.GRPC{Pushback: fields[grpcPushbackField]}.Hint()
	if said.Explicit && (!out.Hint.Explicit || said.Wait >= out.Hint.Wait) {
		out.Hint.Wait, out.Hint.Explicit, out.Hint.Exact = said.Wait, true, said.Exact
	}
	if said.Verdict == hint.DontRepeat {
		out.Hint.Verdict = hint.DontRepeat
	}
	return out
}

// grpcCode reads the status. One that is missing, or that nobody knows, is UNKNOWN (PROTOCOL-HTTP2, Responses).
func grpcCode(fields http.Header) policy.StatusCode {
	if values := fields[grpcStatusField]; len(values) > 0 {
		if n, err := strconv.ParseUint(values[0], 10, 8); err == nil && int(n) < len(policy.Codes) {
			return policy.StatusCode(n)
		}
	}
	return policy.CodeUnknown
}

// withTrailer returns the fields of an answer that has ended.
func withTrailer(resp *http.Response) http.Header {
	fields := resp.Header.Clone()
	for name, values := range resp.Trailer {
		fields[name] = slices.Concat(fields[name], values)
	}
	return fields
}

// peek begins to read the body of an answer whose status is still to come, where net/http shows it. Of all
// others it returns nil.
func (h *httpCall) peek(resp *http.Response) *httpwire.KeptBody {
	if !h.grpc || resp.StatusCode != http.StatusOK || resp.Body == http.NoBody ||
		len(resp.Header[grpcStatusField]) > 0 || !isGRPC(resp.Header) || isGRPCWeb(resp.Header) {
		return nil
	}
	peeked := httpwire.PeekBody(resp.Body)
	resp.Body = peeked
	return peeked
}

// classifyTrailed waits a moment for an answer that is only a trailer, though not written as Trailers-Only: servers
// on net/http can't, and nor can any that wrote its header first. It counts as if it were. With a message the
// answer is a good one, since it can't be asked for again; what its trailer then says is heard when it comes.
func (h *httpCall) classifyTrailed(p *Permit, resp *http.Response, peeked *httpwire.KeptBody) Outcome {
	if peeked.IsEmpty() {
		return h.heedOwnEnd(classifyGRPC(withTrailer(resp), h.profile()))
	}
	resp.Body = &trailedBody{resp.Body, func() { h.hearTrailer(p, resp) }}
	return classifyResponse(resp, h.profile())
}

// heedOwnEnd doubts codes that only say what the caller's context does.
func (h *httpCall) heedOwnEnd(out Outcome) Outcome {
	if h.Context.Err() != nil && (out.Code == policy.CodeCancelled || out.Code == policy.CodeDeadlineExceeded) {
		out.Answered = false
	}
	return out
}

// hearTrailer takes up a "not before" that comes after the call has ended for all of its stages. That is all it
// can teach: its attempt counts as answered, and what has begun to be read is never asked for again.
func (h *httpCall) hearTrailer(p *Permit, resp *http.Response) {
	out := classifyGRPC(withTrailer(resp), h.profile())
	wait := out.wait()
	if out.Class != Overloaded || wait <= 0 {
		return
	}
	h.Target = h.engine.targets.Use(h.targetKey(), h.policy, 0) // which may have been forgotten meanwhile
	defer h.Target.Release()
	a := h.answer(p, &out)
	heard := target.Settled{Whose: func() (credential, place uint64) { return h.credential(), h.place() }}
	h.Target.Hear(&a, &heard)
	h.report(p, &heard)
}

// trailedBody tells when its end has come, and with it the trailer.
type trailedBody struct {
	io.ReadCloser
	end func()
}

func (b *trailedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && b.end != nil {
		end := b.end
		b.end = nil
		end()
	}
	return n, err
}
