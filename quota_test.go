package tether_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
)

// metered is a server that grants each credential limit requests a minute.
type metered struct {
	mu              sync.Mutex // guards what follows
	limit           int
	began           time.Time
	used            map[string]int
	served, refused int
	last            time.Time
	silence         time.Duration // the longest between two requests
}

func (m *metered) RoundTrip(req *http.Request) (*http.Response, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if since := now.Sub(m.began); m.used == nil || since >= time.Minute {
		m.began, m.used = now.Add(-(since % time.Minute)), map[string]int{}
	}
	if !m.last.IsZero() {
		m.silence = max(m.silence, now.Sub(m.last))
	}
	m.last = now
	key := req.Header.Get("Authorization")
	status := 200
	if m.used[key] >= m.limit {
		status = 429
		m.refused++
	} else {
		m.used[key]++
		m.served++
	}
	reset := int((m.began.Add(time.Minute).Sub(now) + time.Second - 1) / time.Second)
	return answer(req, status, "RateLimit-Policy", fmt.Sprintf(`"q";q=%d;w=60`, m.limit),
		"RateLimit", fmt.Sprintf(`"q";r=%d;t=%d`, m.limit-m.used[key], reset)), nil
}

// ask makes calls at random times and returns what became of them.
func ask(t *testing.T, c *tether.Client, perSecond float64, lasts time.Duration) (ok, failed int, longest time.Duration) {
	rng := rand.New(rand.NewPCG(1, 2))
	var all sync.WaitGroup
	var mu sync.Mutex
	for began := time.Now(); time.Since(began) < lasts; {
		all.Go(func() {
			asked := time.Now()
			status, _, err := get(c, api)
			mu.Lock()
			defer mu.Unlock()
			longest = max(longest, time.Since(asked))
			if err == nil && status == 200 {
				ok++
			} else {
				failed++
			}
		})
		time.Sleep(time.Duration(rng.ExpFloat64() / perSecond * 1e9))
	}
	all.Wait()
	return ok, failed, longest
}

// TestQuotaPaces: a client that wants twice its quota gets all of it, is hardly ever refused by the
// server, and is slowed instead of being stopped for half of the time; one that wants nine tenths of it doesn't feel it (law 10).
func TestQuotaPaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &metered{limit: 120}
		ok, failed, _ := ask(t, client(t, m, tether.Options{}), 4, 10*time.Minute)
		t.Logf("%d served, %d refused by the server, which heard nothing for %v; %d calls succeeded, %d didn't",
			m.served, m.refused, m.silence, ok, failed)
		if m.served < 1080 || m.refused > 30 || m.silence > 10*time.Second {
			t.Errorf("%d served, %d refused by the server, which heard nothing for %v", m.served, m.refused, m.silence)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		m := &metered{limit: 240}
		_, failed, longest := ask(t, client(t, m, tether.Options{}), 3.2, 10*time.Minute)
		if failed > 0 || longest > 10*time.Millisecond {
			t.Errorf("within the quota: %d failed, the longest took %v", failed, longest)
		}
	})
}

// TestQuotaLocksNobodyOut: a client with a call now and then is served whatever its quota says, and a busy
// one is back within its longest gap once the server takes the number back.
func TestQuotaLocksNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200, "RateLimit", `"q";r=1;t=3600`)}
		c := client(t, b, tether.Options{})
		for i := range 20 {
			if status, _, err := get(c, api); status != 200 {
				t.Fatalf("call %d, one a minute: %v", i, err)
			}
			time.Sleep(time.Minute)
		}
		ask(t, c, 5, time.Minute)
		b.becomes(always(200, "RateLimit", `"q";r=100000;t=3600`))
		time.Sleep(10 * time.Second)
		get(c, api)
		if _, failed, longest := ask(t, c, 5, time.Minute); failed > 0 || longest > 10*time.Millisecond {
			t.Errorf("after the number was taken back: %d failed, the longest took %v", failed, longest)
		}
	})
}

// TestQuotaOfManyTenants: beyond the cap on lanes one tenant's number still stalls nobody else.
func TestQuotaOfManyTenants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200, "RateLimit", `"q";r=0;t=600`)}
		c := client(t, b, tether.Options{})
		for i := range 400 {
			tenant{t, c, strconv.Itoa(i)}.wants(false, "/a")
		}
		tenant{t, c, "7"}.wants(true, "/a")
	})
}
