package tether_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/random"
	"github.com/tether-go/tether/policy"
)

// careless is a transport of the rudest kind that the rules allow: it goes on reading a body after it has
// answered, reads in odd pieces, closes early or late, sends again by itself.
type careless struct {
	mu      sync.Mutex // guards rng
	rng     func() float64
	size    int
	serving int // the attempt that reads all
	sent    int
	err     error // of the attempt that reads all
	readers sync.WaitGroup
	t       *testing.T
}

// checked is a reader that finds gaps and early ends.
type checked struct {
	io.ReadCloser
	at int
	c  *careless
}

func (b *checked) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if whole := letters(b.c.size); string(p[:n]) != whole[b.at:min(b.at+n, len(whole))] || err == io.EOF && b.at+n != len(whole) {
		b.c.t.Errorf("%q at %d of %d, %v", p[:n], b.at, len(whole), err)
	}
	b.at += n
	return n, err
}

func (c *careless) draw(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.rng() * float64(n))
}

func (c *careless) RoundTrip(req *http.Request) (*http.Response, error) {
	body := &checked{req.Body, 0, c}
	if c.draw(4) == 0 {
		c.read(body, c.draw(2*c.size))
		body.Close()
		anew, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		body = &checked{anew, 0, c}
	}
	if c.sent++; c.sent == c.serving {
		c.err = c.read(body, 1<<20)
		body.Close()
		return answer(req, 200), nil
	}
	amount, early := c.draw(2*c.size), c.draw(2) == 0
	c.readers.Go(func() {
		c.read(body, amount)
		if early {
			body.Close()
		}
		c.read(body, amount)
		body.Close()
	})
	if c.draw(2) == 0 {
		time.Sleep(time.Duration(c.draw(100)) * time.Millisecond)
	}
	return answer(req, 502), nil
}

func (c *careless) read(body io.Reader, amount int) error {
	for amount > 0 {
		n, err := body.Read(make([]byte, 1+c.draw(200)))
		if amount -= n; err != nil {
			return err
		}
		if c.draw(8) == 0 {
			time.Sleep(time.Duration(c.draw(50)) * time.Millisecond)
		}
	}
	return nil
}

// slowReader is a source that sometimes takes its time.
type slowReader struct {
	io.Reader
	c *careless
}

func (s slowReader) Read(p []byte) (int, error) {
	if s.c.draw(4) == 0 {
		time.Sleep(time.Duration(s.c.draw(50)) * time.Millisecond)
	}
	return s.Reader.Read(p)
}

// TestW08BufferedWhateverTheTransportDoes: an attempt that is served got the whole body, or the call says
// that it can't be sent again; no reader hangs, the source is closed once.
func TestW08BufferedWhateverTheTransportDoes(t *testing.T) {
	served, lost := 0, 0
	for seed := range uint64(2000) {
		synctest.Test(t, func(t *testing.T) {
			rng := random.New(seed + 1).Float64
			base := &careless{rng: rng, size: 1 + int(rng()*1000), serving: 1 + int(rng()*4), t: t}
			c := client(t, base, tether.Options{BufferBodies: 500, InitialRetries: policy.Ptr(2), Seed: seed + 1})
			body := &stream{Reader: slowReader{strings.NewReader(letters(base.size)), base}}
			req, _ := http.NewRequest(http.MethodPut, api, body)
			resp, err := c.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			base.readers.Wait()
			if body.closed.Load() != 1 {
				t.Errorf("seed %d: closed %d times", seed, body.closed.Load())
			}
			switch {
			case err == nil && resp.StatusCode == 200:
				served++
				if base.err != io.EOF {
					t.Errorf("seed %d: the body of %d bytes did not arrive whole: %v", seed, base.size, base.err)
				}
			case base.serving == 4: // one more than there are
			case base.size > 500:
				lost++
			default:
				t.Errorf("seed %d: %d bytes were not sent again: %v, %v", seed, base.size, resp, err)
			}
		})
	}
	t.Logf("%d served, %d too long", served, lost)
	if served < 500 || lost < 100 {
		t.Errorf("it proves nothing: %d served, %d too long", served, lost)
	}
}

// TestW08BufferedWhileARepeatIsComing: what a repeat was promised isn't taken away by the attempt before it,
// which goes on sending.
func TestW08BufferedWhileARepeatIsComing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 10 * bound
		var readers sync.WaitGroup
		var before, after int
		b := &backend{}
		base := roundTrip(func(req *http.Request) (*http.Response, error) {
			if b.attempts() == 1 {
				return b.RoundTrip(req)
			}
			n, _ := io.ReadFull(req.Body, make([]byte, 10))
			readers.Go(func() {
				time.Sleep(time.Millisecond) // the call waits for its repeat
				m, err := io.Copy(io.Discard, req.Body)
				if before, after = n, int(m); err == nil {
					t.Error("the attempt sent the repeat's part of the body")
				}
				req.Body.Close()
			})
			b.times = append(b.times, time.Now())
			return answer(req, 502), nil
		})
		b.serve = always(200)
		c := client(t, base, tether.Options{BufferBodies: bound})
		body := &stream{Reader: strings.NewReader(letters(size))}
		req, _ := http.NewRequest(http.MethodPut, api, body)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		readers.Wait()
		if resp.StatusCode != 200 || b.bodies[0] != letters(size) || body.closed.Load() != 1 {
			t.Errorf("%d, %d of %d bytes; closed %d times", resp.StatusCode, len(b.bodies[0]), size, body.closed.Load())
		}
		if before+after < bound || before+after > bound+32<<10 {
			t.Errorf("the first attempt sent %d bytes", before+after)
		}
	})
}

// TestW08BufferedReadersWaitForTheSourceOnly: a repeat waits while an earlier attempt is at the source, and not
// for that attempt's connection.
func TestW08BufferedReadersWaitForTheSourceOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var readers sync.WaitGroup
		b := &backend{serve: always(200)}
		sent := 0
		base := roundTrip(func(req *http.Request) (*http.Response, error) {
			if sent++; sent == 2 {
				return b.RoundTrip(req)
			}
			readers.Go(func() {
				req.Body.Read(make([]byte, 3))
				time.Sleep(time.Hour) // the connection takes no more
				req.Body.Close()
			})
			return answer(req, 502), nil
		})
		ours, theirs := io.Pipe()
		go func() {
			time.Sleep(time.Second)
			io.WriteString(theirs, "payload")
			theirs.Close()
		}()
		req, _ := http.NewRequest(http.MethodPut, api, ours)
		began := time.Now()
		resp, err := client(t, base, tether.Options{BufferBodies: bound}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if took := time.Since(began); took > 2*time.Second || len(b.bodies) != 1 || b.bodies[0] != "payload" {
			t.Errorf("%q after %v", b.bodies, took)
		}
		readers.Wait()
	})
}
