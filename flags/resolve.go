package flags

// resolution is the outcome of flagd's evaluation of a flag, before its type is looked at. It is small
// enough to stay in registers: copying texts was more than half of what a flag without a rule cost.
type resolution struct {
	flag    *definition // nil: not found
	variant *variant    // nil: the caller's default
	how     how
}

// how a resolution came about. Those up to and with the first that is General are a slot's counts, in
// their order; all that are General are counted as one.
type how uint8

const (
	asStatic how = iota
	asMatched
	asDefault
	asDisabled
	asBroken
	asPanicked
	asExhausted
	asNameless
	asMissing
)

var hows = [...]struct {
	reason  Reason
	code    ErrorCode
	message string
}{
	asStatic:    {reason: Static},
	asMatched:   {reason: TargetingMatch},
	asDefault:   {reason: Default},
	asDisabled:  {reason: Disabled},
	asBroken:    {reason: Failed, code: ParseError}, // the message is the flag's
	asPanicked:  {Failed, General, "the evaluation panicked"},
	asExhausted: {Failed, General, "the rule needs too many steps"},
	asNameless:  {Failed, General, "the rule names no variant of the flag"},
	asMissing:   {Failed, FlagNotFound, "there is no such flag"},
}

func (r resolution) message() string {
	if r.how == asBroken {
		return r.flag.broken
	}
	return hows[r.how].message
}

// resolve decides, and counts where somebody looks.
func (s *Set) resolve(attributes Attributes, key string) resolution {
	r := s.decide(attributes, key)
	if s.tally != nil {
		s.tally.count(r)
	}
	return r
}

// decide goes through flagd's table of evaluation, in its order.
func (s *Set) decide(attributes Attributes, key string) resolution {
	f := s.flags[key]
	switch {
	case f == nil:
		return resolution{how: asMissing}
	case !f.enabled:
		return resolution{flag: f, how: asDisabled}
	case f.targeted:
		return s.target(f, attributes)
	case f.fallback == nil:
		return resolution{flag: f, how: asDefault}
	}
	return resolution{f, f.fallback, asStatic}
}

func (s *Set) target(f *definition, attributes Attributes) (r resolution) {
	if f.broken != "" {
		return resolution{flag: f, how: asBroken}
	}
	defer func() {
		// No input is known to bring this about. A mistake of ours must not end a million applications.
		if recover() != nil {
			r = resolution{flag: f, how: asPanicked}
		}
	}()
	e := evaluation{flag: f, attributes: attributes, steps: maxSteps, bucketing: s.bucketing}
	result := e.run(&f.rule)
	if e.exhausted() {
		return resolution{flag: f, how: asExhausted}
	}
	switch result.kind {
	case kindNull:
		return resolution{f, f.fallback, asDefault}
	case kindText, kindBool, kindNumber:
		name := e.text(result)
		if !e.read(len(name)) {
			return resolution{flag: f, how: asExhausted}
		}
		if v := f.variants[name]; v != nil {
			return resolution{f, v, asMatched}
		}
	}
	return resolution{flag: f, how: asNameless}
}
