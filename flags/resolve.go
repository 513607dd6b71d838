package flags

// resolution is the outcome of flagd's evaluation of a flag, before its type is looked at.
type resolution struct {
	flag    *definition // nil: not found
	variant *variant    // nil: the caller's default
	reason  Reason
	code    ErrorCode
	message string
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
		return resolution{reason: Failed, code: FlagNotFound, message: "there is no such flag"}
	case !f.enabled:
		return resolution{flag: f, reason: Disabled}
	case f.targeted:
		return s.target(f, attributes)
	case f.fallback == nil:
		return resolution{flag: f, reason: Default}
	}
	return resolution{flag: f, variant: f.fallback, reason: Static}
}

func (s *Set) target(f *definition, attributes Attributes) (r resolution) {
	if f.broken != "" {
		return resolution{flag: f, reason: Failed, code: ParseError, message: f.broken}
	}
	defer func() {
		// No input is known to bring this about. A mistake of ours must not end a million applications.
		if recover() != nil {
			r = resolution{flag: f, reason: Failed, code: General, message: "the evaluation panicked"}
		}
	}()
	e := evaluation{flag: f, attributes: attributes, steps: maxSteps, bucketing: s.bucketing}
	result := e.run(&f.rule)
	if e.exhausted() {
		return resolution{flag: f, reason: Failed, code: General, message: "the rule needs too many steps"}
	}
	switch result.kind {
	case kindNull:
		return resolution{flag: f, variant: f.fallback, reason: Default}
	case kindText, kindBool, kindNumber:
		if v := f.variants[e.text(result)]; v != nil {
			return resolution{flag: f, variant: v, reason: TargetingMatch}
		}
	}
	return resolution{flag: f, reason: Failed, code: General, message: "the rule names no variant of the flag"}
}
