package nats

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tether-go/tether/internal/random"
	"github.com/tether-go/tether/remoteconfig"
)

// dialTimeout bounds the way to one server, from dialling to its greeting. Polls have 30 s in all.
const dialTimeout = 5 * time.Second

// maxDocument is the most bytes that a document may have.
const maxDocument = 1 << 20

// ErrNoDocument means that the bucket has no such key, or had and it was deleted.
var ErrNoDocument = errors.New("nats: no document under the key")

// errNoBucket is what a server says of a subject that nobody answers.
var errNoBucket = errors.New("nats: no such bucket, or one without direct gets, or no JetStream")

// Source is a document under a key of a JetStream bucket. It is safe for concurrent use.
type Source struct {
	// URL of the servers, divided by commas. Use tls: nothing else vouches for an unsigned document.
	URL string
	// Bucket and Key tell where the document lies. The bucket must allow direct gets, as those that
	// NATS's own clients create do.
	Bucket, Key string
	// Options are for credentials, TLS and the name of the connection. Those on reconnecting and the
	// handler of asynchronous errors are the source's own.
	Options []nats.Option
}

// Name implements [remoteconfig.Named].
func (s Source) Name() string { return fmt.Sprintf("%s %q %q", s.URL, s.Bucket, s.Key) }

func (s Source) subject() string { return "$KV." + s.Bucket + "." + s.Key }

// Fetch asks for the document. A bucket can't tell "unchanged" by content, so it is sent each time; a
// revision would lie once the bucket was made anew.
func (s Source) Fetch(ctx context.Context, tag string) (remoteconfig.Fetched, error) {
	conn, ctx, closing, err := s.connect(ctx)
	if err != nil {
		return remoteconfig.Fetched{}, failed(ctx, err)
	}
	defer closing()
	// ADR-31 of NATS: the last message of a subject, by the subject of the request.
	answer, err := conn.RequestWithContext(ctx, "$JS.API.DIRECT.GET.KV_"+s.Bucket+"."+s.subject(), nil)
	if errors.Is(err, nats.ErrNoResponders) {
		err = errNoBucket
	}
	if err != nil {
		return remoteconfig.Fetched{}, failed(ctx, err)
	}
	if err := missing(answer.Header); err != nil {
		return remoteconfig.Fetched{}, &remoteconfig.FetchError{Err: err}
	}
	if len(answer.Data) > maxDocument {
		return remoteconfig.Fetched{}, remoteconfig.ErrTooLarge
	}
	sum := sha256.Sum256(answer.Data)
	if now := hex.EncodeToString(sum[:]); now != tag {
		return remoteconfig.Fetched{Document: answer.Data, Tag: now}, nil
	}
	return remoteconfig.Fetched{Tag: tag, Unchanged: true}, nil
}

// missing reads the headers of an answer: ADR-31 for its status, ADR-8 for what was deleted.
func missing(header nats.Header) error {
	switch status := header.Get("Status"); {
	case status == "404", header.Get("KV-Operation") != "":
		return ErrNoDocument
	case status != "":
		return fmt.Errorf("nats: the server answered %.3q", status)
	}
	return nil
}

// Watch subscribes to the key's subject, which hears of each change and deletion. What a mirror of
// a bucket or a server that restarts doesn't tell, polls find.
func (s Source) Watch(ctx context.Context, changed func()) error {
	conn, ctx, closing, err := s.connect(ctx)
	if err != nil {
		return failed(ctx, err)
	}
	defer closing()
	told, err := conn.SubscribeSync(s.subject())
	if err == nil { // a hint is as good as many, and each brings a document along
		err = told.SetPendingLimits(4, -1)
	}
	if err == nil {
		err = flush(ctx, conn) // from now on the server knows of it
	}
	for err == nil {
		changed()
		if _, err = told.NextMsgWithContext(ctx); errors.Is(err, nats.ErrSlowConsumer) {
			err = nil // some were dropped: a doubt
		}
	}
	return failed(ctx, err)
}

func flush(ctx context.Context, conn *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return conn.FlushWithContext(ctx)
}

// connect returns a connection for one call, and a context that ends with the call's and when the
// server forbids what was asked, of which NATS tells apart from any answer.
func (s Source) connect(ctx context.Context) (*nats.Conn, context.Context, func(), error) {
	ctx, cancel := context.WithCancelCause(ctx)
	own := func(o *nats.Options) error {
		o.AllowReconnect, o.RetryOnFailedConnect = false, false
		o.Timeout = dialTimeout
		if o.CustomDialer == nil && o.Dialer == nil {
			o.CustomDialer, o.SkipHostLookup = dialer{ctx}, true
		}
		o.AsyncErrorCB = func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if !errors.Is(err, nats.ErrSlowConsumer) {
				cancel(err)
			}
		}
		return nil
	}
	conn, err := nats.Connect(s.URL, append(slices.Clip(s.Options), own)...)
	if err != nil {
		cancel(err)
		return nil, ctx, nil, err
	}
	return conn, ctx, func() { conn.Close(); cancel(nil) }, nil
}

// dialer makes a connection that ends with the context: NATS's own way to a server, and its look for
// the server's addresses, know none.
type dialer struct{ ctx context.Context }

// Dial implements [nats.CustomDialer].
func (d dialer) Dial(network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(d.ctx, dialTimeout)
	defer cancel()
	hosts, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return nil, err
	}
	// As NATS has it: what sorts addresses by nearness would send all clients to the same server.
	start := int(random.New(0).Uint64() % uint64(max(len(hosts), 1)))
	hosts = slices.Concat(hosts[start:], hosts[:start])
	out := net.Dialer{Timeout: dialTimeout / time.Duration(max(len(hosts), 1))}
	for _, host := range hosts {
		var conn net.Conn
		if conn, err = out.DialContext(ctx, network, net.JoinHostPort(host, port)); err == nil {
			context.AfterFunc(d.ctx, func() { _ = conn.Close() })
			return conn, nil
		}
	}
	return nil, err
}

// failed tells why the context ended, if it did, rather than what came of that. A URL's text may
// have a password.
func failed(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if withURL := (*url.Error)(nil); errors.As(err, &withURL) {
		err = errors.New("nats: Source.URL is not a URL")
	}
	return &remoteconfig.FetchError{Err: fmt.Errorf("nats: no answer: %w", err)}
}
