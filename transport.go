package tether

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/internal/httpwire"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/hint"
)

// transport is the HTTP edge.
type transport struct {
	engine *Engine
	base   http.RoundTripper
}

// RoundTrip sends a request as often as the engine allows. A call that had a response gets it, body
// unread; one that had none gets a *RejectedError or the last real error.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil || req.URL.Host == "" {
		return t.base.RoundTrip(req) // whose error says best what is wrong
	}
	h := &httpCall{base: t.base}
	h.Call, h.http = &h.what, h
	if h.from = detourOf(req); h.from != nil {
		req = req.WithContext(req.Context())
		withhold(req)
	}
	h.request = req
	h.Scheme, h.Host = policy.OriginOf(req.URL.Scheme, req.URL.Host)
	h.Method, h.Path = req.Method, req.URL.EscapedPath()
	if h.Method == "" {
		h.Method = http.MethodGet
	}
	if h.grpc = h.Method == http.MethodPost && isGRPC(req.Header); h.grpc && strings.Count(h.Path, "/") == 2 {
		h.GRPCMethod = h.Path
	}
	h.CallOptions = CallOptionsFrom(req.Context())
	repeatable := isIdempotent(h.Method, req.Header)
	if !repeatable && h.IdempotencyKey != NoKey {
		h.key = h.IdempotencyKey.newKey()
	}
	h.replayable = req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
	h.hedgeable = isHedgeable(req, h.Idempotent && h.replayable)
	h.Idempotent = h.Idempotent || repeatable || h.key != ""
	h.start(req.Context(), t.engine)
	h.spoolBody()
	return h.roundTrip()
}

// CloseIdleConnections reaches the base transport: http.Client's method of that name asks for it.
func (t *transport) CloseIdleConnections() {
	if closer, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

// httpCall is a call over HTTP.
type httpCall struct {
	call
	what      Call
	request   *http.Request // the caller's, never changed
	base      http.RoundTripper
	from      *detour            // on which the request is; nil: none
	response  *http.Response     // of the last attempt that had one
	grpc      bool               // a gRPC call, as its Content-Type says
	hedgeable bool               // two of its requests may be under way at once
	apart     bool               // they may be: each attempt's request shares nothing with the caller's
	kept      *httpwire.KeptBody // that response's body, while a repeat is under way
	spool     *httpwire.Spool    // the request's body, where it is kept; else nil
	key       string             // that was made for the call; "": none was
}

func (h *httpCall) roundTrip() (*http.Response, error) {
	settled := false
	if h.spool != nil {
		defer h.spool.End()
	}
	defer func() {
		if !settled { // a panic, or Goexit, in the base transport
			h.drop()
		}
	}()
	var last Outcome
	reason := h.run(nil, &last)
	settled = true
	if h.attempts == 0 && h.request.Body != nil && h.spool == nil {
		h.request.Body.Close() // as every RoundTripper must
	}
	if h.response != nil {
		if h.kept != nil {
			h.response.Body = h.kept
		}
		if h.Explained {
			h.tell(reason)
		}
		resp := h.response
		h.response = nil // whoever forgets it must be all who has it: net/http keeps h
		return resp, nil
	}
	return nil, h.failure(last, reason)
}

var errNothing = errors.New("tether: the base transport returned neither a response nor an error")

// attempt sends the request once, and once more beside that where it is hedged; and settles and records what
// that brought. It lets go of what keep has kept.
func (h *httpCall) attempt(p *Permit, out *Outcome) {
	if h.kept != nil && !h.kept.Complete() {
		h.kept, h.response = nil, nil
	}
	if delay := h.hedgeAfter(); delay > 0 {
		*out = h.race(p, delay)
		h.tellTrials(p, h.permit, out)
		return
	}
	var resp *http.Response
	resp, *out = h.exchange(h, p)
	if h.spool != nil {
		h.buffered, h.replayable = h.spool.Claim()
	}
	h.take(resp)
	h.settled(p, out)
}

// take replaces an earlier attempt's response.
func (h *httpCall) take(resp *http.Response) {
	if resp != nil {
		h.drop()
		h.response = resp
	}
}

// exchange sends the request once, within ctx. It changes nothing of the call: an attempt and its hedge
// are under way together.
func (h *httpCall) exchange(ctx context.Context, p *Permit) (*http.Response, Outcome) {
	ctx = h.withAttempt(ctx, p.Attempt())
	req, err := h.prepare(ctx, p.Attempt())
	if err != nil {
		return nil, Outcome{Class: Ignored, Err: err, Final: true, Sent: NotSent}
	}
	ctx, clock := h.startClock(ctx)
	defer clock.endUnlessHanded() // a panic too
	ctx, w := h.watch(ctx)
	if clock != nil || w != nil {
		req = req.WithContext(ctx)
	}
	var noted *httpwire.NotedBody
	if h.spool == nil {
		noted = httpwire.NoteBody(req)
	}
	resp, err := h.base.RoundTrip(req)
	timeout := clock.stop()
	h.countResends(w)
	if resp != nil {
		h.engine.heardIn(h.Host, resp.Header)
	}
	if resp == nil || timeout != nil && h.Context.Err() == nil {
		out := h.failed(req, noted, resp, err, timeout)
		if out.Sent == MaybeSent && err != nil && w.NeverLeft(ctx, err) {
			out.Sent = NotSent
		}
		return nil, out
	}
	if resp.Body == nil { // which http.Client mends too, but later
		resp.Body = http.NoBody
	}
	detour := h.detour(resp)
	resp.Request = h.request // whose context is the caller's
	detour.follow(resp)
	peeked := h.peek(resp) // first: what is read ahead must not keep the place of a body that is forgotten
	clock.endWith(resp)
	resp = lend(p, &h.Target.Queue, resp)
	if peeked != nil {
		return resp, h.classifyTrailed(p, resp, peeked)
	}
	return resp, h.classify(resp)
}

func (h *httpCall) classify(resp *http.Response) Outcome {
	if h.grpc && isTrailersOnly(resp) {
		return h.heedOwnEnd(classifyGRPC(resp.Header, h.profile()))
	}
	return classifyResponse(resp, h.profile())
}

func (h *httpCall) profile() hint.Profile { return h.engine.opts.HintProfiles[h.Host] }

// failed is the outcome of an attempt without a response, or with one that came too late.
func (h *httpCall) failed(req *http.Request, noted *httpwire.NotedBody, resp *http.Response, err, timeout error) Outcome {
	switch {
	case resp == nil && err == nil:
		return ClassifyHTTP(nil, errNothing)
	case timeout != nil && h.Context.Err() == nil:
		return h.timedOut(resp, err, timeout)
	case httpwire.IsMalformed(req):
		return Outcome{Class: Ignored, Err: err, Final: true, Sent: NotSent}
	case noted.Failed(), h.spool.Failed(err), httpwire.IsFileError(req, err), h.spool == nil && !isDial(err) && httpwire.HasWrongLength(req):
		return Outcome{Class: Ignored, Err: err, Final: true}
	}
	return ClassifyHTTP(nil, err)
}

// timedOut is the outcome of an attempt that the policy's clock ended. An answer that came as late as
// that is lost to the caller, because its context has ended; what the server said in it is not.
func (h *httpCall) timedOut(resp *http.Response, err, timeout error) Outcome {
	out := Outcome{Class: Transient}
	if err == nil {
		out = h.classify(resp)
		if resp.Body != nil {
			resp.Body.Close()
		}
	}
	out.Err, out.Final = timeout, timeout == ErrCallTimeout
	return out
}

// prepare makes a request of the attempt's own: the first one sends the body as it is, later
// ones a fresh copy of it. A body that is kept is read by all of them in the same way.
func (h *httpCall) prepare(ctx context.Context, attempt int) (*http.Request, error) {
	req := h.request.WithContext(ctx)
	if h.apart { // transports that write into their request are common
		req = h.request.Clone(ctx)
	}
	h.addFields(req, attempt)
	if h.routed() {
		reroute(h.routing.to, req)
	}
	switch {
	case h.spool != nil:
		req.GetBody = h.spool.Open
	case attempt == 1 || h.request.GetBody == nil:
		return req, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	req.Body = body
	return req, nil
}

// addFields adds the header fields that are ours, to a copy of the caller's.
func (h *httpCall) addFields(req *http.Request, attempt int) {
	name := h.engine.opts.AttemptHeader
	counted := name != "" && attempt > 1
	field := h.engine.opts.CriticalityHeader
	told := field != "" && (h.criticality != criticality.Default || h.request.Header.Get(field) != "")
	if !counted && h.key == "" && !told {
		return
	}
	if req.Header = h.request.Header.Clone(); req.Header == nil {
		req.Header = make(http.Header)
	}
	if counted {
		req.Header.Set(name, strconv.Itoa(attempt-1))
	}
	if told {
		h.criticality.Write(req.Header, field)
	}
	if h.key != "" {
		req.Header.Set(keyField, h.key)
	}
}

// keep holds on to the response until its repeat has brought another: if that is refused, the caller
// gets this one.
func (h *httpCall) keep() {
	if h.response != nil && h.kept == nil { // else it is an earlier attempt's, and kept already
		h.kept = httpwire.KeepBody(h.response.Body)
		h.permit.pass.TakeBack()
	}
}

// drop lets go of an earlier response.
func (h *httpCall) drop() {
	if h.kept != nil {
		h.kept.Close()
	} else if h.response != nil {
		h.response.Body.Close()
	}
	h.kept, h.response = nil, nil
}

// isIdempotent tells whether a request may be sent twice: RFC 9110 section 9.2.2, or a key that lets
// the server tell (draft-ietf-httpapi-idempotency-key-header).
func isIdempotent(method string, header http.Header) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return header.Get(keyField) != "" || header.Get("X-Idempotency-Key") != "" || declaresIdempotence(header)
}

// declaresIdempotence tells whether a field for a key has no value at all: so [http.Transport] is told that a
// request is idempotent, and sends nothing of it.
func declaresIdempotence(header http.Header) bool {
	for _, name := range [...]string{keyField, "X-Idempotency-Key"} {
		if values, has := header[name]; has && len(values) == 0 {
			return true
		}
	}
	return false
}

var _ context.Context = (*httpCall)(nil)
