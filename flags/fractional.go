package flags

import "math"

// maxWeight is the largest weight, and the largest sum of them, so that a bucket fits 64 bits.
const maxWeight = math.MaxInt32

// fractional is a rollout, compiled.
type fractional struct {
	seed    *node // nil: the flag's key and the targeting key
	buckets []bucket
	total   uint64 // of constant weights
	varying bool   // a weight is not constant
	never   bool   // it gives null for everybody
}

type bucket struct {
	variant node
	weight  node
	upTo    uint64 // the sum of constant weights up to and with this one
}

// sum adds up constant weights.
func (f *fractional) sum() {
	for i := range f.buckets {
		b := &f.buckets[i]
		if b.weight.op != opConst {
			f.varying = true
			return
		}
		weight, ok := weightOf(b.weight.constant)
		f.total += weight
		if b.upTo = f.total; !ok || f.total > maxWeight {
			f.never = true
			return
		}
	}
	f.never = f.total == 0
}

// weightOf reads a weight: null is 1, and what is below 0 is 0.
func weightOf(v value) (weight uint64, ok bool) {
	switch {
	case v.kind == kindNull:
		return 1, true
	case v.kind != kindNumber || v.num != math.Trunc(v.num) || v.num > maxWeight:
		return 0, false
	}
	return uint64(max(v.num, 0)), true
}

// fractional puts the seed's hash into a bucket. A larger share of the first buckets keeps everybody
// that a smaller one had, as long as the total stays the same or the ratio does: the bucket is
// the hash's place on a line, not its rest by division.
func (e *evaluation) fractional(f *fractional) value {
	if f.never {
		return value{}
	}
	hash, ok := e.hash(f)
	if !ok || e.exhausted() {
		return value{}
	}
	if f.varying {
		return e.varying(f, hash)
	}
	place := uint64(hash) * f.total >> 32
	for i := range f.buckets {
		if place < f.buckets[i].upTo {
			return e.run(&f.buckets[i].variant)
		}
	}
	return value{}
}

// varying is a rollout whose weights are computed, such as a ramp by time.
func (e *evaluation) varying(f *fractional, hash uint32) value {
	var few [16]uint64 // enough for the buckets of most, without an allocation
	upTo := few[:0]
	total := uint64(0)
	for i := range f.buckets {
		weight, ok := weightOf(e.run(&f.buckets[i].weight))
		if total += weight; !ok || total > maxWeight {
			return value{}
		}
		upTo = append(upTo, total)
	}
	place := uint64(hash) * total >> 32
	for i := range upTo {
		if place < upTo[i] {
			return e.run(&f.buckets[i].variant)
		}
	}
	return value{} // the sum is 0
}

// hash hashes the seed, or else the flag's key and the targeting key, by the pinned bucketing.
func (e *evaluation) hash(f *fractional) (hash uint32, ok bool) {
	var m murmur
	if f.seed != nil {
		ok, missing := e.hashSeed(&m, f.seed)
		if ok || !missing || e.bucketing != bucketing2 {
			return m.sum(), ok
		}
	}
	key := toValue(e.attributes[TargetingKey])
	switch {
	case key.kind != kindText || !e.read(len(e.flag.key)+len(key.str())):
		return 0, false
	case e.bucketing == bucketing2:
		if key.str() == "" {
			return 0, false
		}
		m.write(e.flag.key)
	default:
		m.writeByte(cborArray | 2)
		m.cborText(e.flag.key)
		m.cborHead(cborText, uint64(len(key.str())))
	}
	m.write(key.str())
	return m.sum(), true
}

// hashSeed hashes what the seed gives. Version 2 takes only texts; the parts of a cat are hashed as
// they come, for a text made to be hashed need not exist.
func (e *evaluation) hashSeed(m *murmur, seed *node) (ok, missing bool) {
	if e.bucketing == bucketing2 && seed.op == opCat {
		if e.steps -= seed.cost; e.steps < 0 {
			return false, false
		}
		o := e.operands(seed)
		for i := range o.count {
			e.hashText(m, e.operand(&o, i))
		}
		return true, false
	}
	v := e.run(seed)
	switch {
	case v.kind == kindNull:
		return false, true
	case v.kind == kindList:
		return false, false // no version hashes one: a list stands for a bucket
	case e.bucketing != bucketing2:
		return e.cbor(m, v, 0), false
	case v.kind != kindText:
		return false, false
	}
	e.hashText(m, v)
	return true, false
}

func (e *evaluation) hashText(m *murmur, v value) {
	if v.kind == kindText {
		if e.read(len(v.str())) {
			m.write(v.str())
		}
		return
	}
	var buf [32]byte
	m.writeBytes(e.appendText(buf[:0], v, 0))
}
