package tether

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/tether-go/tether/ratelimit/hint"
	"github.com/tether-go/tether/retry"
)

// ClassifyHTTP says what a response or an error of an [http.RoundTripper] teaches, by types and never
// by text. The caller's own context is the engine's business: an attempt whose context had ended is
// not asked for its error. Of a gRPC answer it reads the status that is in its head (Trailers-Only).
func ClassifyHTTP(resp *http.Response, err error) Outcome {
	if err != nil {
		return classifyError(err)
	}
	if isTrailersOnly(resp) {
		return classifyGRPC(resp.Header, hint.Profile{})
	}
	return classifyResponse(resp, hint.Profile{})
}

// classifyResponse reads the response of a server with that profile.
func classifyResponse(resp *http.Response, profile hint.Profile) Outcome {
	out := Outcome{Class: classOfStatus(resp.StatusCode), Status: resp.StatusCode}
	out.Hint = profile.ParseHeader(resp.Header, time.Now())
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		out.Partitioned = true
	case http.StatusForbidden:
		// GitHub's answer to too many requests, and an answer about rights everywhere else.
		if q := out.Hint.Quota; out.Hint.Explicit || q.Exhausted() && !(q.LimitKnown && q.Limit == 0) {
			out.Class, out.Partitioned = Overloaded, true
		}
	}
	return out
}

// classifyError follows the order: permanent types first, then "it never left", then "maybe".
func classifyError(err error) Outcome {
	switch {
	case isRefusal(err):
		return Outcome{Class: Ignored, Err: err, Final: true, Sent: NotSent}
	case isPermanent(err):
		return Outcome{Class: Ignored, Err: err, Final: true}
	case isOwnTrouble(err):
		return Outcome{Class: Ignored, Err: err, Sent: NotSent, Final: isUnknownHost(err)}
	case isDial(err):
		return Outcome{Class: Transient, Err: err, Sent: NotSent}
	case isRefusedStream(err):
		return Outcome{Class: Transient, Err: err, Sent: NotProcessed}
	}
	return Outcome{Class: Transient, Err: err}
}

// isRefusal finds what a wrapper further in did not send at all.
func isRefusal(err error) bool {
	return as[*RejectedError](err) && !as[*retry.Error](err)
}

// isPermanent finds failures of trust and of scheme: the server's identity won't change by asking again.
func isPermanent(err error) bool {
	return as[*tls.CertificateVerificationError](err) || as[x509.UnknownAuthorityError](err) ||
		as[x509.HostnameError](err) || as[x509.CertificateInvalidError](err) ||
		as[tls.RecordHeaderError](err) || as[tls.AlertError](err) ||
		as[*tls.ECHRejectionError](err) || errors.Is(err, http.ErrSchemeMismatch) || errors.Is(err, errNothing)
}

// isOwnTrouble finds what says nothing about the server: no network, no descriptors, no ports, no
// name resolution. All of it happens before a byte is sent.
func isOwnTrouble(err error) bool {
	if as[*net.DNSError](err) || as[*net.AddrError](err) { // the latter of a port that is none
		return true
	}
	var errno syscall.Errno
	if !isDial(err) || !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENETUNREACH, syscall.ENETDOWN,
		syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM:
		return true
	}
	return false
}

func isUnknownHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// streamError has the shape of HTTP/2's stream error, which net/http's bundled copy fills in through
// errors.As without our importing the package.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "http2 stream error" }

const refusedStream = 7 // REFUSED_STREAM, RFC 9113 section 7

func isRefusedStream(err error) bool {
	var s streamError
	return errors.As(err, &s) && s.Code == refusedStream
}

func as[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}
