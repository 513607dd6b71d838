package tether_test

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/tether-go/tether/internal/memnet"
)

// Frames of RFC 9113 section 6, as far as a server needs them that refuses; net/http's never does.
const (
	h2Headers, h2Reset, h2Settings, h2GoAway byte = 1, 3, 4, 7

	h2Ack, h2EndStream, h2EndHeaders byte = 1, 1, 4
)

func h2Frame(kind, flags byte, stream uint32, payload ...byte) []byte {
	frame := []byte{0, 0, byte(len(payload)), kind, flags}
	frame = binary.BigEndian.AppendUint32(frame, stream)
	return append(frame, payload...)
}

// h2Answer is ":status: 200", entry 8 of HPACK's static table (RFC 7541 appendix A).
func h2Answer(stream uint32) []byte {
	return h2Frame(h2Headers, h2EndStream|h2EndHeaders, stream, 0x88)
}

// h2Refuse is RST_STREAM with REFUSED_STREAM.
func h2Refuse(stream uint32) []byte { return h2Frame(h2Reset, 0, stream, 0, 0, 0, 7) }

// h2Last is GOAWAY without an error: streams above last were not processed.
func h2Last(last uint32) []byte {
	return h2Frame(h2GoAway, 0, 0, append(binary.BigEndian.AppendUint32(nil, last), 0, 0, 0, 0)...)
}

// serveFrames is an HTTP/2 server that answers each request with frames, and then ends the connection
// if that was the last.
func serveFrames(t testing.TB, network *memnet.Network, host string,
	answer func(stream uint32) (frames []byte, last bool)) {
	l := network.Listen(host)
	var mu sync.Mutex // guards conns
	var conns []net.Conn
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			serving.Go(func() {
				defer conn.Close()
				serveConn(conn, answer)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
}

func serveConn(conn net.Conn, answer func(stream uint32) ([]byte, bool)) {
	preface := make([]byte, 24)
	if _, err := io.ReadFull(conn, preface); err != nil {
		return
	}
	conn.Write(h2Frame(h2Settings, 0, 0))
	head := make([]byte, 9)
	for {
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		size := int64(head[0])<<16 | int64(head[1])<<8 | int64(head[2])
		if _, err := io.CopyN(io.Discard, conn, size); err != nil {
			return
		}
		switch kind, flags := head[3], head[4]; {
		case kind == h2Settings && flags&h2Ack == 0:
			conn.Write(h2Frame(h2Settings, h2Ack, 0))
		case kind == h2Headers:
			frames, last := answer(binary.BigEndian.Uint32(head[5:]))
			if conn.Write(frames); last {
				return
			}
		}
	}
}
