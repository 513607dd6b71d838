package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/tether-go/tether/internal/envelope"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/remoteconfig"
)

// runServe publishes a file until it is interrupted.
func runServe(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := options("serve", stderr)
	addr := flags.String("addr", "127.0.0.1:8470", "where to listen")
	every := flags.Duration("every", time.Minute, "how often to tell who has which version")
	each := flags.Bool("log", false, "tell each poll")
	if err := flags.Parse(args); err != nil || flags.NArg() != 1 || *every < time.Second {
		fmt.Fprint(stderr, usage)
		return 2
	}
	p := &publication{name: flags.Arg(0), log: log.New(stdout, "", log.LstdFlags), polls: make(map[string]int)}
	if err := p.look(); err != nil {
		fmt.Fprintf(stderr, "tetherctl: %s: %v\n", p.name, err)
		if unreadable(err) {
			return 2
		}
		return 1
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		fmt.Fprintln(stderr, "tetherctl:", err)
		return 2
	}
	p.log.Printf("serving %s on http://%s/", p.name, listener.Addr())
	if err := p.serve(ctx, listener, *every, *each); err != nil {
		fmt.Fprintln(stderr, "tetherctl:", err)
		return 2
	}
	return 0
}

// publication is a file that is published. What can't be a document isn't: the last good one stays.
type publication struct {
	name string
	log  *log.Logger

	mu       sync.Mutex // guards what follows
	document []byte
	payload  []byte         // document without its envelope
	signed   bool           // document is in an envelope
	ring     *envelope.Ring // newest that proved a document; nil: none did
	version  string
	seen     [sha256.Size]byte // of the file, good or not
	polls    map[string]int    // by the version that the client had
}

// look reads the file again, and publishes it if it has changed. A mistake is an error once for each content.
func (p *publication) look() error {
	data, err := readLimited(p.name)
	if err != nil {
		return err
	}
	lines, err := p.take(data)
	for _, line := range lines { // not under the lock, which polls need: whoever should read it may be asleep
		p.log.Print(line)
	}
	return err
}

// take publishes a document that is another than before, if clients that have the one before would take it, and
// returns what to say of it.
func (p *publication) take(data []byte) (lines []string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := sha256.Sum256(data)
	if sum == p.seen {
		return nil, nil
	}
	p.seen = sum
	at, payload, signed, err := payloadOf(p.name, data)
	if err != nil {
		return nil, err
	}
	if signed == nil && p.signed {
		return nil, refuse("clients that ask for signatures will refuse: it is not signed, and the one before is")
	}
	v := judge(payload, p.payload)
	if len(v.refused) > 0 {
		return nil, &policy.Error{Problems: v.refused}
	}
	ring, err := proved(signed, v.cfg, p.ring)
	if err != nil {
		return nil, err
	}
	p.document, p.payload, p.signed, p.ring = data, payload, signed != nil, ring
	p.version = fmt.Sprintf("%s v%d", v.cfg.Document, v.cfg.Version)
	lines = append(effects(v.cfg, time.Now()), "published: "+p.version)
	var told strings.Builder
	v.tell(at, true, &told)
	return slices.AppendSeq(lines, strings.Lines(told.String())), nil
}

func unreadable(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path)
}

// serve answers until ctx ends. It looks once a second whether the file has changed.
func (p *publication) serve(ctx context.Context, listener net.Listener, every time.Duration, each bool) error {
	serving := remoteconfig.Handler(func() []byte {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.document
	})
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			had := versionOf(r.Header)
			p.count(had)
			if each {
				p.log.Printf("poll: has %s", had)
			}
			serving.ServeHTTP(w, r)
		}),
		ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 10 * time.Second,
		MaxHeaderBytes: 16 << 10, ErrorLog: p.log,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	look, tell := time.NewTicker(time.Second), time.NewTicker(every)
	defer look.Stop()
	defer tell.Stop()
	failed := 0 // to read it, in a row
	for {
		select {
		case <-look.C:
			err := p.look()
			if !unreadable(err) {
				failed = 0
			} else if failed++; failed != 3 { // it may be being replaced; and it is told once
				err = nil
			}
			if err != nil {
				p.log.Printf("not published, the last good one stays: %v", err)
			}
		case <-tell.C:
			p.tell()
		case err := <-served:
			return err
		case <-ctx.Done():
			stopping, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			err := server.Shutdown(stopping)
			<-served
			p.tell()
			return err
		}
	}
}

const (
	noVersion  = "no document"
	otherWords = "something else"
	// maxVersions bounds the versions that are counted apart: what clients send is theirs to choose.
	maxVersions = 50
)

func (p *publication) count(had string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.polls[had]; !known && len(p.polls) >= maxVersions {
		had = otherWords
	}
	p.polls[had]++
}

// versionOf is the document that a client says it has: Tether-Config: "shop";v=41.
func versionOf(header http.Header) string {
	values := header.Values("Tether-Config")
	if len(values) == 0 {
		return noVersion
	}
	if len(values) > 1 || len(values[0]) > 200 {
		return otherWords
	}
	item, err := httpsfv.UnmarshalItem(values)
	if err != nil {
		return otherWords
	}
	name, named := item.Value.(string)
	v, _ := item.Params.Get("v")
	version, numbered := v.(int64)
	if !named || !numbered || version < 0 {
		return otherWords
	}
	return fmt.Sprintf("%q v%d", name, version)
}

// tell says how many polls came since it last did, by version, the most first, and forgets them.
func (p *publication) tell() {
	p.mu.Lock()
	polls := p.polls
	p.polls = make(map[string]int)
	p.mu.Unlock()
	total := 0
	for _, n := range polls {
		total += n
	}
	p.log.Printf("%d polls", total)
	names := slices.SortedFunc(maps.Keys(polls), func(a, b string) int {
		return cmp.Or(polls[b]-polls[a], strings.Compare(a, b))
	})
	for _, name := range names {
		p.log.Printf("  %5.1f %%  %s", 100*float64(polls[name])/float64(total), name)
	}
}
