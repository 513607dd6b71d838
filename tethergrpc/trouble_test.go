package tethergrpc

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/policy"
)

// dialing is how a dial fails in net: at a call to the system.
func dialing(call string, errno syscall.Errno) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443},
		Err: os.NewSyscallError(call, errno)}
}

// learns makes calls that all fail, and tells whether any stage learnt from them.
func learns(t *testing.T, engine *tether.Engine, client healthpb.HealthClient) bool {
	t.Helper()
	for range 10 {
		if err := check(within(t, time.Second), client); status.Code(err) != codes.Unavailable {
			t.Errorf("%v", err)
		}
		time.Sleep(time.Second)
	}
	h := engine.Health().Targets[0]
	return h.Breaker != breaker.Closed || h.PacedPerSecond > 0
}

// servesAtOnce fails the test unless the next call is served without a wait.
func servesAtOnce(t *testing.T, client healthpb.HealthClient) {
	t.Helper()
	began := time.Now()
	if err := check(within(t, time.Second), client); err != nil || time.Since(began) > 10*time.Millisecond {
		t.Errorf("%v, after %v", err, time.Since(began))
	}
}

// TestOwnTrouble: what keeps a real channel from reaching any server at all teaches nothing about this one, and the
// first call after it is served. It fails if grpc-go's texts change.
func TestOwnTrouble(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		theirs bool
	}{
		"unreachable":    {err: dialing("connect", syscall.ENETUNREACH)},
		"network down":   {err: dialing("connect", syscall.ENETDOWN)},
		"no descriptors": {err: dialing("socket", syscall.EMFILE)},
		"no ports":       {err: dialing("connect", syscall.EADDRNOTAVAIL)},
		"no such host": {err: &net.OpError{Op: "dial", Net: "tcp",
			Err: &net.DNSError{Err: "no such host", Name: "shop.example.com", IsNotFound: true}}},
		"DNS is silent": {err: &net.OpError{Op: "dial", Net: "tcp",
			Err: &net.DNSError{Err: "i/o timeout", Name: "shop.example.com", Server: "192.0.2.53:53", IsTimeout: true}}},
		"refused":     {err: dialing("connect", syscall.ECONNREFUSED), theirs: true},
		"no route":    {err: dialing("connect", syscall.EHOSTUNREACH), theirs: true},
		"of any kind": {err: errors.New("lookup failed"), theirs: true},
		"no such path": {theirs: true,
			err: &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.ENOENT)}},
	} {
		for _, opts := range []Options{{}, idempotent} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					engine := newEngine(t, policy.Document{}, tether.Options{})
					options, err := DialOptions(engine, opts)
					if err != nil {
						t.Fatal(err)
					}
					b := &backend{}
					n := b.serve(t)
					n.setRefuse(test.err)
					client := newClient(n.channel(t, options...))
					if learns(t, engine, client) != test.theirs {
						t.Errorf("%+v", engine.Health().Targets[0])
					}
					n.setRefuse(nil)
					time.Sleep(3 * time.Minute) // grpc-go's own back-off
					servesAtOnce(t, client)
				})
			})
		}
	}
}

// TestOwnTroubleOfNames: a resolver that reports an error, or no address, whatever balances the load.
func TestOwnTroubleOfNames(t *testing.T) {
	noAddress := func(r *manual.Resolver) { r.UpdateState(resolver.State{}) }
	for name, report := range map[string]func(*manual.Resolver){
		"no address": noAddress,
		"an error":   func(r *manual.Resolver) { noAddress(r); r.CC().ReportError(errors.New("no network")) },
	} {
		for _, balancing := range []string{"pick_first", "round_robin"} {
			t.Run(name+" "+balancing, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					engine := newEngine(t, policy.Document{}, tether.Options{})
					options, err := DialOptions(engine, idempotent)
					if err != nil {
						t.Fatal(err)
					}
					b := &backend{}
					n := b.serve(t)
					names := manual.NewBuilderWithScheme("names")
					conn, err := grpc.NewClient("names:///shop", append(options, grpc.WithResolvers(names),
						grpc.WithContextDialer(n.dial), grpc.WithTransportCredentials(insecure.NewCredentials()),
						grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"`+balancing+`":{}}]}`))...)
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					conn.Connect()
					synctest.Wait()
					report(names)
					client := newClient(conn)
					if learns(t, engine, client) {
						t.Errorf("%+v", engine.Health().Targets[0])
					}
					names.UpdateState(resolver.State{Addresses: []resolver.Address{{Addr: "shop"}}})
					synctest.Wait()
					servesAtOnce(t, client)
				})
			})
		}
	}
}

// TestOwnTroubleOfDNS: grpc-go's own resolver, asking a name server on this machine that isn't there, or that
// knows no such name.
func TestOwnTroubleOfDNS(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		answerNXDOMAIN(server)
	}()
	defer func() { server.Close(); <-served }()
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for name, address := range map[string]string{
		"none there":   gone.LocalAddr().String(),
		"unknown name": server.LocalAddr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			engine := newEngine(t, policy.Document{}, tether.Options{})
			options, err := DialOptions(engine, Options{})
			if err != nil {
				t.Fatal(err)
			}
			conn, err := grpc.NewClient("dns://"+address+"/does-not-exist.invalid:443",
				append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx := tether.WithCall(within(t, 20*time.Second), tether.CallOptions{NoWait: true})
			for range 10 {
				if err := check(ctx, newClient(conn)); status.Code(err) != codes.Unavailable {
					t.Error(err)
				}
			}
			if h := engine.Health().Targets[0]; h.Breaker != breaker.Closed || h.PacedPerSecond > 0 || h.Attempts < 10 {
				t.Errorf("%+v", h)
			}
		})
	}
}

// answerNXDOMAIN answers every question with its own bytes, as an answer that says that there is no such name
// (RFC 1035 section 4.1.1).
func answerNXDOMAIN(server net.PacketConn) {
	buf := make([]byte, 512)
	for {
		n, from, err := server.ReadFrom(buf)
		if err != nil {
			return
		}
		if n >= 12 {
			buf[2], buf[3] = buf[2]|0x84, 0x80|3
			server.WriteTo(buf[:n], from)
		}
	}
}

// A server that says such a thing itself, as a proxy does of the one behind it, is heard.
func TestOwnTroubleIsNotAServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{check: func(ctx context.Context, _ int) error {
			grpc.SetTrailer(ctx, metadata.Pairs("retry-after", "5"))
			return status.Error(codes.Unavailable, unresolved+"produced zero addresses")
		}}
		engine := newEngine(t, policy.Document{}, tether.Options{})
		if err := check(t.Context(), b.client(t, engine, Options{})); status.Code(err) != codes.Unavailable {
			t.Error(err)
		}
		if h := engine.Health().Targets[0]; h.HeldUntil.IsZero() {
			t.Errorf("not held: %+v", h)
		}
	})
}
