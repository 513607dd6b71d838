package flags

import (
	"bytes"
	"math"
	"reflect"
	"slices"
)

// Major types of RFC 8949, section 3.1, in place.
const (
	cborUnsigned = 0 << 5
	cborNegative = 1 << 5
	cborText     = 3 << 5
	cborArray    = 4 << 5
	cborMap      = 5 << 5
	cborFalse    = 0xf4
	cborTrue     = 0xf5
	cborNull     = 0xf6
	cborHalf     = 0xf9
	cborSingle   = 0xfa
	cborDouble   = 0xfb
)

// cborHead writes a type with its argument in the fewest bytes (RFC 8949, section 4.2.1).
func (m *murmur) cborHead(major byte, n uint64) {
	var buf [9]byte
	m.writeBytes(appendHead(buf[:0], major, n))
}

func (m *murmur) cborText(s string) {
	m.cborHead(cborText, uint64(len(s)))
	m.write(s)
}

func appendHead(out []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(out, major|byte(n))
	case n <= math.MaxUint8:
		return appendUint(append(out, major|24), n, 1)
	case n <= math.MaxUint16:
		return appendUint(append(out, major|25), n, 2)
	case n <= math.MaxUint32:
		return appendUint(append(out, major|26), n, 4)
	}
	return appendUint(append(out, major|27), n, 8)
}

func appendUint(out []byte, n uint64, size int) []byte {
	for i := size - 1; i >= 0; i-- {
		out = append(out, byte(n>>(8*i)))
	}
	return out
}

// cbor hashes the deterministic encoding of a value.
func (e *evaluation) cbor(m *murmur, v value, depth int) bool {
	if v.kind == kindText { // without a copy
		if !e.read(len(v.str())) {
			return false
		}
		m.cborText(v.str())
		return true
	}
	var buf [16]byte
	out, ok := e.appendCBOR(buf[:0], v, depth)
	m.writeBytes(out)
	return ok
}

// appendCBOR encodes a value by RFC 8949, section 4.2.1; not ok is nested too deep or too large.
func (e *evaluation) appendCBOR(out []byte, v value, depth int) (_ []byte, ok bool) {
	if !e.spend(len(v.str())/64) || depth > maxTextDepth {
		return out, false
	}
	switch v.kind {
	case kindBool:
		return append(out, cborFalse+byte(v.num)), true
	case kindNumber:
		return appendCBORNumber(out, v.num), true
	case kindText:
		return append(appendHead(out, cborText, uint64(len(v.str()))), v.str()...), true
	case kindList:
		out = appendHead(out, cborArray, uint64(v.length()))
		for i := range v.length() {
			if out, ok = e.appendCBOR(out, v.element(i), depth+1); !ok {
				return out, false
			}
		}
		return out, true
	case kindObject:
		return e.appendCBORMap(out, v, depth)
	}
	return append(out, cborNull), true
}

// appendCBORMap sorts the members by the bytes of their encoded names.
func (e *evaluation) appendCBORMap(out []byte, v value, depth int) (_ []byte, ok bool) {
	object := reflect.ValueOf(v.ref)
	if !e.spend(object.Len()) {
		return out, false
	}
	names := object.MapKeys()
	type member struct {
		key  []byte
		name string
	}
	members := make([]member, 0, len(names))
	for _, name := range names {
		text := name.String()
		if !e.spend(len(text) / 64) {
			return out, false
		}
		members = append(members,
			member{append(appendHead(nil, cborText, uint64(len(text))), text...), text})
	}
	slices.SortFunc(members, func(a, b member) int { return bytes.Compare(a.key, b.key) })
	out = appendHead(out, cborMap, uint64(len(members)))
	for _, m := range members {
		if out, ok = e.appendCBOR(append(out, m.key...), v.member(m.name), depth+1); !ok {
			return out, false
		}
	}
	return out, true
}

// appendCBORNumber writes whole numbers as integers, others as the shortest float that loses nothing.
func appendCBORNumber(out []byte, f float64) []byte {
	if f == math.Trunc(f) && f >= -1<<63 && f < 1<<64 {
		if f < 0 {
			return appendHead(out, cborNegative, uint64(-1-int64(f)))
		}
		return appendHead(out, cborUnsigned, uint64(f))
	}
	if f != f {
		return appendUint(append(out, cborHalf), 0x7e00, 2)
	}
	single := float32(f)
	if float64(single) != f {
		return appendUint(append(out, cborDouble), math.Float64bits(f), 8)
	}
	if half, ok := halfBits(single); ok {
		return appendUint(append(out, cborHalf), uint64(half), 2)
	}
	return appendUint(append(out, cborSingle), uint64(math.Float32bits(single)), 4)
}

// halfBits returns a single as IEEE 754 binary16, where that loses nothing.
func halfBits(f float32) (half uint16, ok bool) {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	exponent, fraction := int(b>>23&0xff)-127, b&0x7fffff
	switch {
	case exponent == 128: // an infinity; NaN was dealt with
		return sign | 0x7c00, fraction == 0
	case exponent >= -14 && exponent <= 15:
		return sign | uint16(exponent+15)<<10 | uint16(fraction>>13), fraction&0x1fff == 0
	case exponent >= -24 && exponent < -14: // subnormal
		shift := 13 - 14 - exponent
		full := fraction | 0x800000
		return sign | uint16(full>>shift), full&(1<<shift-1) == 0
	}
	return 0, false
}
