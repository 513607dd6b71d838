package policy

import (
	"math"
	"slices"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/retry"
)

// settingField reads and writes one number of Settings. get tells whether it is there at all. set
// writes only a number that is there, by a new pointer, so that a copy of Settings can be changed
// and the original not, once own has copyOf the structs between.
type settingField struct {
	get func(*Settings) (v float64, ok bool)
	set func(*Settings, float64)
}

// numberField is a field that at finds; at returns nil when the struct that holds it is absent.
func numberField[T int | float64 | time.Duration](at func(*Settings) **T) settingField {
	return settingField{
		get: func(s *Settings) (float64, bool) {
			p := at(s)
			if p == nil || *p == nil {
				return 0, false
			}
			return float64(**p), true
		},
		set: func(s *Settings, v float64) { *at(s) = Ptr(T(v)) },
	}
}

func retryField[T int | float64 | time.Duration](at func(*RetrySettings) **T) settingField {
	return numberField(func(s *Settings) **T {
		if s.Call.RetryPolicy == nil {
			return nil
		}
		return at(s.Call.RetryPolicy)
	})
}

func hedgingField[T float64 | time.Duration](at func(*HedgingSettings) **T) settingField {
	return numberField(func(s *Settings) **T {
		if s.Call.HedgingPolicy == nil {
			return nil
		}
		return at(s.Call.HedgingPolicy)
	})
}

func breakerField[T int | float64 | time.Duration](at func(*BreakerSettings) **T) settingField {
	return numberField(func(s *Settings) **T {
		if s.Target.CircuitBreaker == nil {
			return nil
		}
		return at(s.Target.CircuitBreaker)
	})
}

func budgetField() settingField {
	return numberField(func(s *Settings) **float64 {
		if s.Target.RetryBudget == nil {
			return nil
		}
		return &s.Target.RetryBudget.Ratio
	})
}

func holdField() settingField {
	return numberField(func(s *Settings) **time.Duration {
		if s.Target.Hold == nil {
			return nil
		}
		return &s.Target.Hold.Max
	})
}

func rateField[T int | float64 | time.Duration](at func(*RateSettings) **T) settingField {
	return numberField(func(s *Settings) **T {
		if s.Target.RateLimit == nil {
			return nil
		}
		return at(s.Target.RateLimit)
	})
}

func concurrencyField() settingField {
	return numberField(func(s *Settings) **int {
		if s.Target.Concurrency == nil {
			return nil
		}
		return &s.Target.Concurrency.Max
	})
}

func concurrencyModeField() settingField {
	return wordField(concurrencyModes, func(s *Settings) **string {
		if s.Target.Concurrency == nil {
			return nil
		}
		return &s.Target.Concurrency.Mode
	})
}

func breakerModeField() settingField {
	return wordField(breakerModes, func(s *Settings) **breaker.Mode {
		if s.Target.CircuitBreaker == nil {
			return nil
		}
		return &s.Target.CircuitBreaker.Mode
	})
}

func pacingModeField() settingField {
	return wordField(modes, func(s *Settings) **string {
		if s.Target.Pacing == nil {
			return nil
		}
		return &s.Target.Pacing.Mode
	})
}

func criticalityField() settingField {
	return settingField{
		get: func(s *Settings) (float64, bool) {
			switch p := s.Call.Criticality; {
			case p == nil:
				return 0, false
			case *p != p.InRange():
				return math.NaN(), true
			default:
				return wordOf(*p), true
			}
		},
		set: func(s *Settings, v float64) { s.Call.Criticality = Ptr(criticalityAt(v)) },
	}
}

func jitterField() settingField {
	return wordField(jitters, func(s *Settings) **retry.Jitter {
		if s.Call.RetryPolicy == nil {
			return nil
		}
		return &s.Call.RetryPolicy.Jitter
	})
}

// wordField is a field of one of words as its place among them; any other word is NaN, which no check
// lets by.
func wordField[T ~string](words []string, at func(*Settings) **T) settingField {
	return settingField{
		get: func(s *Settings) (float64, bool) {
			p := at(s)
			if p == nil || *p == nil {
				return 0, false
			}
			if i := slices.Index(words, string(**p)); i >= 0 {
				return float64(i), true
			}
			return math.NaN(), true
		},
		set: func(s *Settings, v float64) { *at(s) = Ptr(T(words[int(v)])) },
	}
}

// own returns settings whose numbers can be set without the original seeing it.
func (s Settings) own() Settings {
	s.Call.RetryPolicy = copyOf(s.Call.RetryPolicy)
	s.Call.HedgingPolicy = copyOf(s.Call.HedgingPolicy)
	s.Target.RetryBudget = copyOf(s.Target.RetryBudget)
	s.Target.Hold = copyOf(s.Target.Hold)
	s.Target.CircuitBreaker = copyOf(s.Target.CircuitBreaker)
	s.Target.Pacing = copyOf(s.Target.Pacing)
	s.Target.RateLimit = copyOf(s.Target.RateLimit)
	s.Target.Concurrency = copyOf(s.Target.Concurrency)
	return s
}

func copyOf[T any](p *T) *T {
	if p == nil {
		return nil
	}
	return Ptr(*p)
}

// isSet tells whether settings say anything about a target.
func (t *TargetSettings) isSet() bool { return *t != TargetSettings{} }

// wordOf is a criticality's place among the words of its setting, and criticalityAt the other way.
func wordOf(c criticality.Level) float64 { return float64(c.InRange() - criticality.Sheddable) }

func criticalityAt(v float64) criticality.Level { return criticality.Level(v) + criticality.Sheddable }
