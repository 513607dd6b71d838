package nats_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tether-go/tether/remoteconfig"
	"github.com/tether-go/tether/remoteconfig/nats"
	"github.com/tether-go/tether/remoteconfig/remoteconfigtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	bucket, key = "config", "shop-app"
	password    = "hunter2"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// store is a real server, whose clients may do only what the package's documentation asks for.
type store struct {
	t      *testing.T
	dir    string
	port   int
	server *server.Server
}

func newStore(t *testing.T) *store {
	s := &store{t: t, dir: t.TempDir(), port: -1}
	s.start()
	t.Cleanup(s.stop)
	s.do(func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucket})
		return err
	})
	return s
}

func (s *store) start() {
	s.t.Helper()
	subject := "$KV." + bucket + "." + key
	reader := &server.Permissions{
		Publish: &server.SubjectPermission{
			Allow: []string{"$JS.API.DIRECT.GET.KV_" + bucket + "." + subject}},
		Subscribe: &server.SubjectPermission{Allow: []string{subject, "_INBOX.>"}},
	}
	instance, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: s.port, JetStream: true, StoreDir: s.dir, NoSigs: true,
		MaxPayload: 2 << 20,
		Users: []*server.User{{Username: "admin", Password: password},
			{Username: "reader", Password: password, Permissions: reader}},
	})
	must(s.t, err)
	instance.Start()
	if !instance.ReadyForConnections(10 * time.Second) {
		s.t.Fatal("the server doesn't start")
	}
	s.server, s.port = instance, instance.Addr().(*net.TCPAddr).Port
}

func (s *store) stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

func (s *store) url(user string) string {
	return fmt.Sprintf("nats://%s:%s@localhost:%d", user, password, s.port)
}

// do acts as the publisher.
func (s *store) do(act func(context.Context, jetstream.JetStream) error) {
	s.t.Helper()
	conn, err := client.Connect(s.url("admin"))
	must(s.t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	must(s.t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	must(s.t, act(ctx, js))
}

func (s *store) bucket(act func(context.Context, jetstream.KeyValue) error) {
	s.t.Helper()
	s.do(func(ctx context.Context, js jetstream.JetStream) error {
		kv, err := js.KeyValue(ctx, bucket)
		if err != nil {
			return err
		}
		return act(ctx, kv)
	})
}

func (s *store) put(document []byte) {
	s.t.Helper()
	s.bucket(func(ctx context.Context, kv jetstream.KeyValue) error {
		_, err := kv.Put(ctx, key, document)
		return err
	})
}

func (s *store) source() nats.Source {
	return nats.Source{URL: s.url("reader"), Bucket: bucket, Key: key}
}

func TestConformance(t *testing.T) {
	remoteconfigtest.Run(t, func(t *testing.T) remoteconfigtest.Store {
		s := newStore(t)
		return remoteconfigtest.Store{
			Source: func() remoteconfig.Source { return s.source() },
			Put:    s.put,
			Delete: func() {
				s.bucket(func(ctx context.Context, kv jetstream.KeyValue) error {
					return kv.Delete(ctx, key)
				})
			},
			Stop: s.stop, Start: s.start,
			Secret: password,
		}
	})
}

// A bucket that was made anew begins with the old revisions, and is another all the same.
func TestBucketMadeAnew(t *testing.T) {
	s := newStore(t)
	s.put([]byte("one"))
	first, err := s.source().Fetch(t.Context(), "")
	must(t, err)
	s.do(func(ctx context.Context, js jetstream.JetStream) error {
		if err := js.DeleteKeyValue(ctx, bucket); err != nil {
			return err
		}
		_, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucket})
		return err
	})
	if _, err := s.source().Fetch(t.Context(), first.Tag); !errors.Is(err, nats.ErrNoDocument) {
		t.Errorf("an empty bucket: %v, want ErrNoDocument", err)
	}
	s.put([]byte("two"))
	second, err := s.source().Fetch(t.Context(), first.Tag)
	must(t, err)
	if string(second.Document) != "two" {
		t.Errorf("got %q, unchanged %t", second.Document, second.Unchanged)
	}
}

func TestPurgedIsGone(t *testing.T) {
	s := newStore(t)
	s.put([]byte("one"))
	s.bucket(func(ctx context.Context, kv jetstream.KeyValue) error { return kv.Purge(ctx, key) })
	if _, err := s.source().Fetch(t.Context(), ""); !errors.Is(err, nats.ErrNoDocument) {
		t.Errorf("%v, want ErrNoDocument", err)
	}
}

// What is forbidden or not there is told at once, not when the caller's patience ends.
func TestRefusals(t *testing.T) {
	s := newStore(t)
	s.put([]byte("one"))
	other, absent, stranger, typo := s.source(), s.source(), s.source(), s.source()
	other.Key = "somebody-elses"
	absent.URL, absent.Bucket = s.url("admin"), "no-such-bucket"
	stranger.URL = strings.Replace(s.url("reader"), password, password+"3", 1)
	typo.URL = "nats://reader:" + password + "@127.0.0.1:%zz"
	for _, test := range []struct {
		name   string
		source nats.Source
		text   string
	}{
		{"another key", other, "ermissions"},
		{"no such bucket", absent, "no such bucket"},
		{"a wrong password", stranger, "uthorization"},
		{"not a URL", typo, "not a URL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := test.source.Fetch(ctx, "")
			if err == nil || !strings.Contains(err.Error(), test.text) {
				t.Errorf("Fetch: %v, want %q", err, test.text)
			}
			if test.source.Bucket == absent.Bucket {
				return // a subject that nobody ever publishes to can be subscribed to
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

// A server that takes connections and says nothing holds nobody longer than he asked for.
func TestSilentServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	source := nats.Source{URL: "nats://" + listener.Addr().String(), Bucket: bucket, Key: key}
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

// The client library would connect again within seconds, and so would a million: the watch ends
// instead, and the watcher chooses the moment of the next.
func TestWatchEndsWithTheServer(t *testing.T) {
	s := newStore(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	stands, ended := make(chan struct{}, 8), make(chan error, 1)
	go func() { ended <- s.source().Watch(ctx, func() { stands <- struct{}{} }) }()
	<-stands
	s.stop()
	defer s.start()
	if err := <-ended; err == nil || ctx.Err() != nil {
		t.Errorf("the watch ended with %v, the context with %v", err, ctx.Err())
	}
}

// slow is a network that takes its time, towards the server.
type slow struct{}

func (slow) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	return slowConn{conn}, err
}

type slowConn struct{ net.Conn }

func (c slowConn) Write(data []byte) (int, error) {
	time.Sleep(50 * time.Millisecond)
	return c.Conn.Write(data)
}

// What changes once the watch is said to stand is heard of: the server knows of it by then.
func TestWatchStands(t *testing.T) {
	s := newStore(t)
	source := s.source()
	source.Options = []client.Option{client.SetCustomDialer(slow{})}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	told, ended := make(chan struct{}, 8), make(chan error, 1)
	go func() { ended <- source.Watch(ctx, func() { told <- struct{}{} }) }()
	<-told
	s.put([]byte("one"))
	select {
	case <-told:
	case err := <-ended:
		t.Fatalf("not told of the change: %v", err)
	}
	cancel()
	<-ended
}

// A connection is gone with its call, and not only once the caller's context ends.
func TestConnectionEndsWithTheCall(t *testing.T) {
	s := newStore(t)
	s.put([]byte("one"))
	_, err := s.source().Fetch(context.Background(), "")
	must(t, err)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); s.server.NumClients() > 0; <-tick.C {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("%d connections are left", s.server.NumClients())
		}
	}
}
