package main

import (
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/remoteconfig"
)

// shelf is a desk whose file live.json is published.
type shelf struct {
	*desk
	live string
}

// newShelf signs versions 1 to 3 of a document, the third by the next ring. The second is signed by half as well, and
// by the ring of a stranger.
func newShelf(t *testing.T) shelf {
	t.Helper()
	d, public := newDesk(t)
	d.put("shop2.json", strings.Replace(document, `"version": 1`, `"version": 2`, 1))
	d.do(0, "v1.json", "sign -ring @ring1.json -key a=@a.pem -key b=@b.pem @shop.json")
	d.do(0, "v2.json", "sign -ring @ring1.json -key a=@a.pem -key b=@b.pem @shop2.json")
	d.do(0, "half.json", "sign -ring @ring1.json -key a=@a.pem @shop2.json")
	d.put("shop3.json", strings.Replace(document, `"version": 1`, `"version": 3`, 1))
	d.do(0, "ring2.json", "rotate -add c="+public["c"]+" -remove a -key a=@a.pem -key b=@b.pem -key c=@c.pem @ring1.json")
	d.do(0, "v3.json", "sign -ring @ring1.json -ring @ring2.json -key b=@b.pem -key c=@c.pem @shop3.json")
	d.do(0, "ringx.json", "rotate -document shop -threshold 1 -add x="+public["x"]+" -key x=@x.pem")
	d.do(0, "stranger.json", "sign -ring @ringx.json -key x=@x.pem @shop2.json")
	return shelf{d, filepath.Join(d.dir, "live.json")}
}

func (s shelf) read(name string) []byte {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return data
}

// lay replaces the published file in one step, as a publisher should.
func (s shelf) lay(name string) {
	s.t.Helper()
	s.put("next.json", string(s.read(name)))
	if err := os.Rename(filepath.Join(s.dir, "next.json"), s.live); err != nil {
		s.t.Fatal(err)
	}
}

// TestServeKeepsTheSigned: neither an unsigned file, nor a half signed one, nor one of other keys' ring, nor an older
// version replaces a signed one.
func TestServeKeepsTheSigned(t *testing.T) {
	s := newShelf(t)
	p := &publication{name: s.live, log: log.New(io.Discard, "", 0)}
	for _, step := range []struct{ file, why string }{
		{"v1.json", ""}, {"shop2.json", "it is not signed"}, {"half.json", "too few valid signatures"},
		{"stranger.json", "too few valid signatures"}, {"ring1.json", "key ring"}, {"v2.json", ""},
		{"v1.json", "the version doesn't rise"}, {"v3.json", ""},
	} {
		s.lay(step.file)
		err := p.look()
		if (err == nil) != (step.why == "") || err != nil && !strings.Contains(err.Error(), step.why) {
			t.Errorf("%s: %v, want %q", step.file, err, step.why)
		}
	}
	if p.version != "shop v3" || !p.signed {
		t.Errorf("%s is served", p.version)
	}
}

// TestServeGivesClientsNothingToRefuse: a client that enforces signatures takes all that the command's server gives,
// while the file holds first a document that clients would refuse, and then the next.
func TestServeGivesClientsNothingToRefuse(t *testing.T) {
	s := newShelf(t)
	s.lay("v1.json")
	url, out, stop := serving(t, s.live)
	engine, err := tether.New(tether.Options{})
	if err != nil {
		t.Fatal(err)
	}
	poll := func(version uint64) {
		t.Helper()
		w, err := remoteconfig.New(remoteconfig.HTTP{URL: url}, engine, remoteconfig.Options{
			Trust: remoteconfig.Trust{Mode: remoteconfig.Enforced, Ring: s.read("ring1.json")}})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.FetchOnce(t.Context()); err != nil {
			t.Errorf("a client refuses the document: %v", err)
		}
		if got := engine.Health().Version; got != version {
			t.Errorf("the client has version %d, want %d", got, version)
		}
	}
	poll(1)
	s.lay("half.json")
	out.wait(t, "not published, the last good one stays: refused: clients will refuse: too few valid signatures")
	poll(1)
	s.lay("v2.json")
	out.wait(t, "published: shop v2")
	poll(2)
	if status := stop(); status != 0 {
		t.Errorf("exit status %d\n%s", status, out)
	}
}
