package flags

import "math/bits"

// murmur is MurmurHash3_x86_32 with seed 0 (Austin Appleby), fed in parts.
type murmur struct {
	h      uint32
	rest   uint32 // bytes that fill no block yet, the first lowest
	length uint32 // of all bytes; it counts modulo 2^32, as there
}

func (m *murmur) writeByte(b byte) {
	shift := m.length % 4 * 8
	m.rest |= uint32(b) << shift
	m.length++
	if shift == 24 {
		m.block(m.rest)
		m.rest = 0
	}
}

func (m *murmur) write(s string) {
	for len(s) > 0 && m.length%4 != 0 {
		m.writeByte(s[0])
		s = s[1:]
	}
	for ; len(s) >= 4; s = s[4:] {
		m.block(uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24)
		m.length += 4
	}
	for i := range len(s) {
		m.writeByte(s[i])
	}
}

func (m *murmur) writeBytes(b []byte) {
	for _, c := range b {
		m.writeByte(c)
	}
}

func mix(k uint32) uint32 { return bits.RotateLeft32(k*0xcc9e2d51, 15) * 0x1b873593 }

func (m *murmur) block(k uint32) {
	m.h = bits.RotateLeft32(m.h^mix(k), 13)*5 + 0xe6546b64
}

func (m *murmur) sum() uint32 {
	h := m.h ^ mix(m.rest) ^ m.length
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}
