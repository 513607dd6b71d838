package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/tether-go/tether/remoteconfig"
	"github.com/tether-go/tether/remoteconfig/etcd"
	"github.com/tether-go/tether/remoteconfig/remoteconfigtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	prefix   = "/tether/"
	password = "hunter2"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// store is a real server, whose clients may read the documents and nothing else.
type store struct {
	t            *testing.T
	dir          string
	client, peer url.URL
	server       *embed.Etcd
}

func newBareStore(t *testing.T) *store {
	s := &store{t: t, dir: t.TempDir(), client: freeURL(t), peer: freeURL(t)}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func newStore(t *testing.T) *store {
	s := newBareStore(t)
	s.do("", func(ctx context.Context, c *clientv3.Client) error {
		_, e1 := c.UserAdd(ctx, "root", password)
		_, e2 := c.UserGrantRole(ctx, "root", "root")
		_, e3 := c.RoleAdd(ctx, "reader")
		_, e4 := c.RoleGrantPermission(ctx, "reader", prefix, clientv3.GetPrefixRangeEnd(prefix),
			clientv3.PermissionType(clientv3.PermRead))
		_, e5 := c.UserAdd(ctx, "reader", password)
		_, e6 := c.UserGrantRole(ctx, "reader", "reader")
		_, e7 := c.AuthEnable(ctx)
		return errors.Join(e1, e2, e3, e4, e5, e6, e7)
	})
	return s
}

func freeURL(t *testing.T) url.URL {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	return url.URL{Scheme: "http", Host: listener.Addr().String()}
}

func (s *store) start() {
	s.t.Helper()
	config := embed.NewConfig()
	config.Dir = s.dir
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{s.client}, []url.URL{s.client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{s.peer}, []url.URL{s.peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.BcryptCost = 4 // the least: time is spent on passwords elsewhere
	config.UnsafeNoFsync = true
	config.TickMs, config.ElectionMs = 10, 100
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	server, err := embed.StartEtcd(config)
	must(s.t, err)
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(10 * time.Second):
		s.t.Fatal("the server doesn't start")
	}
	s.server = server
}

// stop takes five seconds while there are watches, which the server waits for.
func (s *store) stop() { s.server.Close() }

// do acts as an administrator, with no user before there is one.
func (s *store) do(user string, act func(context.Context, *clientv3.Client) error) {
	s.t.Helper()
	config := s.config(user)
	config.Logger = zap.NewNop()
	c, err := clientv3.New(config)
	must(s.t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	must(s.t, act(ctx, c))
}

func (s *store) config(user string) clientv3.Config {
	config := clientv3.Config{Endpoints: []string{s.client.String()}}
	if user != "" {
		config.Username, config.Password = user, password
	}
	return config
}

func (s *store) put(key string, document []byte) {
	s.t.Helper()
	s.do("root", func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Put(ctx, key, string(document))
		return err
	})
}

func (s *store) source(key string) etcd.Source {
	return etcd.Source{Config: s.config("reader"), Key: key}
}

func TestConformance(t *testing.T) {
	s := newStore(t) // a server takes half a second to start, so each test has a key of its own
	count := 0
	remoteconfigtest.Run(t, func(t *testing.T) remoteconfigtest.Store {
		s.t = t
		count++
		key := fmt.Sprint(prefix, "document", count)
		return remoteconfigtest.Store{
			Source: func() remoteconfig.Source { return s.source(key) },
			Put:    func(document []byte) { s.put(key, document) },
			Delete: func() {
				s.do("root", func(ctx context.Context, c *clientv3.Client) error {
					_, err := c.Delete(ctx, key)
					return err
				})
			},
			Stop: s.stop, Start: s.start,
			Secret: password,
		}
	})
}

// What is forbidden or too large is told at once, not when the caller's patience ends.
func TestRefusals(t *testing.T) {
	s := newStore(t)
	large := prefix + "large"
	s.put(large, make([]byte, 1<<20+100<<10))
	stranger, typo := s.source(large), s.source(large)
	stranger.Config.Password += "3"
	typo.Config.Endpoints = nil
	for _, test := range []struct {
		name   string
		source etcd.Source
		text   string
		stands bool // the watch does
	}{
		{"another key", s.source("/other"), "permission denied", false},
		{"larger than is read", s.source(large), "larger than max", true},
		{"a wrong password", stranger, "authentication failed", false},
		{"no endpoint", typo, "no available endpoints", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := test.source.Fetch(ctx, "")
			if err == nil || !strings.Contains(err.Error(), test.text) {
				t.Errorf("Fetch: %v, want %q", err, test.text)
			}
			if test.stands {
				return
			}
			watched := test.source.Watch(ctx, func() {})
			if watched == nil || !strings.Contains(watched.Error(), test.text) {
				t.Errorf("Watch: %v, want %q", watched, test.text)
			}
			if strings.Contains(fmt.Sprint(err, watched), password) {
				t.Errorf("tells the password: %v, %v", err, watched)
			}
		})
	}
}

// A password that nobody asks for is no mistake, as for etcd's own client.
func TestWithoutUsers(t *testing.T) {
	s := newBareStore(t)
	s.do("", func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Put(ctx, prefix+"a", "one")
		return err
	})
	fetched, err := s.source(prefix+"a").Fetch(t.Context(), "")
	if err != nil || string(fetched.Document) != "one" {
		t.Errorf("%q, %v", fetched.Document, err)
	}
}

// watching starts a watch that stands, and returns where it tells of changes and of its end.
func watching(ctx context.Context, source etcd.Source) (told chan struct{}, ended chan error) {
	told, ended = make(chan struct{}, 8), make(chan error, 1)
	go func() { ended <- source.Watch(ctx, func() { told <- struct{}{} }) }()
	<-told
	return told, ended
}

// The client library would mend its watch within a moment, and so would a million: the watch ends
// instead, and the watcher chooses the moment of the next.
func TestWatchEndsWithTheServer(t *testing.T) {
	s := newStore(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, ended := watching(ctx, s.source(prefix+"a"))
	s.stop()
	defer s.start()
	if err := <-ended; err == nil || ctx.Err() != nil {
		t.Errorf("the watch ended with %v, the context with %v", err, ctx.Err())
	}
}

// A compaction of all that a watch began before doesn't end it.
func TestCompaction(t *testing.T) {
	s := newStore(t)
	key := prefix + "a"
	s.put(key, []byte("one"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	told, ended := watching(ctx, s.source(key))
	s.do("root", func(ctx context.Context, c *clientv3.Client) error {
		for range 5 {
			if _, err := c.Put(ctx, prefix+"b", "another key"); err != nil {
				return err
			}
		}
		now, err := c.Get(ctx, key)
		if err != nil {
			return err
		}
		_, err = c.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical())
		return err
	})
	s.put(key, []byte("two"))
	select {
	case <-told:
	case err := <-ended:
		t.Fatalf("the watch ended: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want Canceled", err)
	}
}

// A server that takes connections and says nothing holds nobody longer than he asked for.
func TestSilentServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	source := etcd.Source{Config: clientv3.Config{Endpoints: []string{listener.Addr().String()}}}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := source.Fetch(ctx, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want DeadlineExceeded", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}
