package tethergrpc

import (
	"encoding/binary"
	"io"
	"net"
)

// Frames of RFC 9113 section 6, as far as a gRPC server needs them that refuses; grpc-go's never does.
const (
	h2Data, h2Headers, h2Reset, h2Settings, h2Ping, h2GoAway byte = 0, 1, 3, 4, 6, 7

	h2Ack, h2EndStream, h2EndHeaders byte = 1, 1, 4
)

func h2Frame(kind, flags byte, stream uint32, payload ...byte) []byte {
	frame := []byte{0, 0, byte(len(payload)), kind, flags}
	frame = binary.BigEndian.AppendUint32(frame, stream)
	return append(frame, payload...)
}

// h2Fields are short fields, none of them indexed (RFC 7541 section 6.2.2).
func h2Fields(namesAndValues ...string) (block []byte) {
	for i, text := range namesAndValues {
		if i%2 == 0 {
			block = append(block, 0)
		}
		block = append(append(block, byte(len(text))), text...)
	}
	return block
}

// h2Serve is a gRPC answer with one empty message.
func h2Serve(stream uint32) []byte {
	answer := h2Frame(h2Headers, h2EndHeaders, stream, h2Fields(":status", "200", "content-type", "application/grpc")...)
	answer = append(answer, h2Frame(h2Data, 0, stream, 0, 0, 0, 0, 0)...)
	return append(answer, h2Frame(h2Headers, h2EndHeaders|h2EndStream, stream, h2Fields("grpc-status", "0")...)...)
}

// h2Refuse is RST_STREAM with REFUSED_STREAM.
func h2Refuse(stream uint32) []byte { return h2Frame(h2Reset, 0, stream, 0, 0, 0, 7) }

// h2Last is GOAWAY without an error: streams above last were not processed.
func h2Last(last uint32) []byte {
	return h2Frame(h2GoAway, 0, 0, append(binary.BigEndian.AppendUint32(nil, last), 0, 0, 0, 0)...)
}

// serveFrames answers each request of a connection with frames, and ends it if that was the last.
func serveFrames(conn net.Conn, answer func(stream uint32) (frames []byte, last bool)) {
	defer conn.Close()
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
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(conn, payload); err != nil {
			return
		}
		switch kind, flags := head[3], head[4]; {
		case kind == h2Settings && flags&h2Ack == 0:
			conn.Write(h2Frame(h2Settings, h2Ack, 0))
		case kind == h2Ping && flags&h2Ack == 0:
			conn.Write(h2Frame(h2Ping, h2Ack, 0, payload...))
		case kind == h2Headers:
			frames, last := answer(binary.BigEndian.Uint32(head[5:]))
			if conn.Write(frames); last {
				return
			}
		}
	}
}
