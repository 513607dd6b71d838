package memnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/internal/memnet"
)

// connect returns both ends of a connection, closed when the test ends.
func connect(t *testing.T) (client, server net.Conn) {
	n := memnet.New()
	l := n.Listen("a.test")
	client, err := n.DialContext(t.Context(), "tcp", "a.test:80")
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
		l.Close()
	})
	return client, server
}

// bubble runs f in a bubble and holds it to real time that no virtual wait can fit in.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	start := time.Now()
	synctest.Test(t, f)
	if real := time.Since(start); real > 5*time.Second {
		t.Errorf("took %v of real time", real)
	}
}

// expires checks that an operation ends with a timeout at a given time after start.
func expires(t *testing.T, start time.Time, at time.Duration, do func() (int, error)) {
	t.Helper()
	_, err := do()
	var timeout net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("got error %v, want a timeout", err)
	}
	if got := time.Since(start); got != at {
		t.Errorf("ended at %v, want %v", got, at)
	}
}

func TestReadDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, server := connect(t)
		start := time.Now()
		read := func() (int, error) { return client.Read(make([]byte, 1)) }

		client.SetReadDeadline(start.Add(time.Second))
		client.SetReadDeadline(start.Add(10 * time.Second)) // the first one must not fire
		expires(t, start, 10*time.Second, read)
		server.Write([]byte("x"))
		expires(t, start, 10*time.Second, read) // an expired deadline beats data, as on a socket

		client.SetReadDeadline(time.Time{})
		if n, err := read(); n != 1 || err != nil {
			t.Errorf("without a deadline: got %d, %v", n, err)
		}
		// A deadline in the past ends a read under way: net/http interrupts its own reads so.
		time.AfterFunc(5*time.Second, func() { client.SetReadDeadline(time.Unix(1, 0)) })
		expires(t, start, 15*time.Second, read)
	})
}

func TestWriteDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, server := connect(t)
		start := time.Now()
		client.SetDeadline(start.Add(time.Second))
		sent := 0
		expires(t, start, time.Second, func() (n int, err error) {
			sent, err = client.Write(make([]byte, 1<<20))
			return sent, err
		})
		client.Close()
		got, err := io.Copy(io.Discard, server)
		if err != nil || got != int64(sent) || sent == 0 {
			t.Errorf("%d bytes arrived, %v; Write told of %d", got, err, sent)
		}
	})
}

func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, server := connect(t)
		server.Write([]byte("last words"))
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(client); string(got) != "last words" || err != nil {
			t.Errorf("after the peer's Close: read %q, %v", got, err)
		}
		if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("after the peer's Close: write got %v, want EPIPE", err)
		}
		_, readErr := server.Read(make([]byte, 1))
		_, writeErr := server.Write([]byte("x"))
		errs := []error{readErr, writeErr, server.SetDeadline(time.Now()), server.Close()}
		for i, err := range errs {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("operation %d after Close: got %v, want net.ErrClosed", i, err)
			}
		}
	})
}

// TestCloseWakes: Close on either end ends every read and write that waits, on both.
func TestCloseWakes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, server := connect(t)
		var errs [3]error
		var waiting sync.WaitGroup
		for i, do := range []func() (int, error){
			func() (int, error) { return client.Read(make([]byte, 1)) },
			func() (int, error) { return client.Write(make([]byte, 1<<20)) },
			func() (int, error) { return client.Write(make([]byte, 1)) }, // queued behind the other
		} {
			waiting.Go(func() { _, errs[i] = do() })
			synctest.Wait()
		}
		server.Close()
		waiting.Wait()
		want := [3]error{io.EOF, syscall.EPIPE, syscall.EPIPE}
		for i, err := range errs {
			if !errors.Is(err, want[i]) {
				t.Errorf("operation %d: got %v, want %v", i, err, want[i])
			}
		}

		client, _ = connect(t)
		waiting.Go(func() { _, errs[0] = client.Read(make([]byte, 1)) })
		waiting.Go(func() { _, errs[1] = client.Write(make([]byte, 1<<20)) })
		synctest.Wait()
		client.Close()
		waiting.Wait()
		if !errors.Is(errs[0], net.ErrClosed) || !errors.Is(errs[1], net.ErrClosed) {
			t.Errorf("own Close: got %v and %v, want net.ErrClosed", errs[0], errs[1])
		}
	})
}

// TestWritesKeepOrder: writes larger than what is buffered arrive whole, each in one piece.
func TestWritesKeepOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, server := connect(t)
		const size = 300_000
		var writers sync.WaitGroup
		for _, letter := range []byte("abc") {
			writers.Go(func() {
				n, err := client.Write(bytes.Repeat([]byte{letter}, size))
				if n != size || err != nil {
					t.Errorf("wrote %d, %v", n, err)
				}
			})
		}
		go func() {
			writers.Wait()
			client.Close()
		}()
		synctest.Wait() // now all of them wait for a reader
		got, err := io.ReadAll(server)
		if err != nil || len(got) != 3*size {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
		for i := range 3 {
			part := got[i*size : (i+1)*size]
			if !bytes.Equal(part, bytes.Repeat(part[:1], size)) {
				t.Errorf("write %d is mixed with another", i)
			}
		}
	})
}

func TestListener(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := memnet.New()
		l := n.Listen("A.test:8080")
		waiting, err := n.DialContext(t.Context(), "tcp", "a.TEST:8080")
		if err != nil {
			t.Fatal(err)
		}
		if got := waiting.RemoteAddr().String(); got != "a.test:8080" || got != l.Addr().String() {
			t.Errorf("dialled %s, listening on %v", got, l.Addr())
		}
		other, err := n.DialContext(t.Context(), "tcp", "a.test:8080")
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if other.LocalAddr().String() == waiting.LocalAddr().String() {
			t.Errorf("two connections from %v", other.LocalAddr())
		}

		refused := make(chan error)
		go func() {
			other := n.Listen("b.test")
			time.AfterFunc(time.Second, func() { other.Close() })
			_, err := other.Accept()
			refused <- err
		}()
		if err := <-refused; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept on a closed listener: got %v, want net.ErrClosed", err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: got %v, want net.ErrClosed", err)
		}
		if _, err := waiting.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("never accepted: read got %v, want EOF", err)
		}
		waiting.Close()
		_, err = n.DialContext(t.Context(), "tcp", "a.test:8080")
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial after Close: got %v, want ECONNREFUSED", err)
		}
		n.Listen("a.test:8080").Close() // the address is free again

		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := n.DialContext(cancelled, "tcp", "a.test:80"); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled dial: got %v, want context.Canceled", err)
		}
	})
}

func TestListenTwicePanics(t *testing.T) {
	n := memnet.New()
	n.Listen("a.test")
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	n.Listen("a.test:80")
}
