package policy

import (
	"sync"
	"time"
)

// Compiled is one version of the Document, ready for use: the application's own Document, above it the
// published document if there is one, and the bounds between. Nothing in it changes but the memory
// of policies already resolved. It is safe for concurrent use.
type Compiled struct {
	bounds  Bounds
	layers  [2]Settings // the defaults of the application and of the document
	rules   []compiledRule
	Kills   []compiledKill
	nudgers []matcher // hosts that may tell of a newer document
	base    *Resolved // of calls that no rule matches

	mu       sync.RWMutex // guards resolved
	resolved map[ruleSet]*Resolved
}

type compiledRule struct {
	matcher
	set    Settings
	key    string
	pushed bool
}

type compiledKill struct {
	matcher
	kill KillInForce
}

// ruleSet says which rules match a call: as many bits as both layers can have rules. Calls with the
// same set have the same policy.
type ruleSet [(2*MaxRules + 63) / 64]uint64

// maxResolved bounds the policies that are remembered. Rules are few and overlap little in
// practice; what is beyond is resolved anew for each call.
const maxResolved = 1000

// Compile makes a snapshot of the application's own Document and a published document over it (the
// zero Document for none). Both passed Validate or Parse; what did not stays out, for rules that
// cannot be understood match nothing.
func Compile(local, pushed Document, bounds Bounds) *Compiled {
	s := &Compiled{bounds: bounds, layers: [2]Settings{local.Defaults, pushed.Defaults},
		resolved: make(map[ruleSet]*Resolved),
		rules:    make([]compiledRule, 0, min(len(local.Rules), MaxRules)+min(len(pushed.Rules), MaxRules))}
	for layer, cfg := range [2]*Document{&local, &pushed} {
		for _, r := range cfg.Rules[:min(len(cfg.Rules), MaxRules)] {
			if m, ok := understoodMatch(r.Match); ok {
				rule := compiledRule{m, Settings{Call: r.Call, Target: r.Target}, "", layer == 1}
				if r.Key == keyRule {
					rule.key = r.Name
				}
				s.rules = append(s.rules, rule)
			}
		}
		for _, k := range cfg.Kill {
			if m, ok := understoodMatch(k.Match); ok {
				s.Kills = append(s.Kills, compiledKill{m, KillInForce{Kill: k, asked: k.Until}})
			}
		}
	}
	s.nudgers = nudgersOf(&local, &pushed)
	s.base = s.policyOf(ruleSet{})
	return s
}

func understoodMatch(match Match) (m matcher, ok bool) {
	ok = true
	m = newMatcher(match, func(string, string, string) { ok = false })
	return m, ok
}

// Resolve returns the policy of a call, whose parts are as newSubject wants them. It does not
// allocate once calls like this one were seen.
func (s *Compiled) Resolve(scheme, host, method, path, grpcMethod string) *Resolved {
	if len(s.rules) == 0 {
		return s.base
	}
	call := newSubject(scheme, host, method, path, grpcMethod)
	var set ruleSet
	for i := range s.rules {
		if s.rules[i].fits(&call) {
			set[i/64] |= 1 << (i % 64)
		}
	}
	if set == (ruleSet{}) {
		return s.base
	}
	s.mu.RLock()
	p := s.resolved[set]
	s.mu.RUnlock()
	if p == nil {
		p = s.remember(set, s.policyOf(set))
	}
	return p
}

// remember keeps the first policy for a set, so that all its calls share one.
func (s *Compiled) remember(set ruleSet, p *Resolved) *Resolved {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first := s.resolved[set]; first != nil {
		return first
	}
	if len(s.resolved) < maxResolved {
		s.resolved[set] = p
	}
	return p
}

// policyOf resolves layer over layer: built in, the application's defaults and rules, the
// document's defaults and rules; then nothing may be looser than the bounds, which the
// application's part alone decides where they are silent.
func (s *Compiled) policyOf(set ruleSet) *Resolved {
	own := builtinValues()
	s.overlay(&own, 0, set)
	own.order()
	all := own
	s.overlay(&all, 1, set)
	all.clamp(&s.bounds, &own)
	p := all.policy()
	p.Route = all.route.policy(&s.bounds)
	return p
}

// overlay lays one layer over v: its defaults, then each rule of the set in order.
func (s *Compiled) overlay(v *settingValues, layer int, set ruleSet) {
	v.overlay(&s.layers[layer])
	for i := range s.rules {
		r := &s.rules[i]
		if set[i/64]&(1<<(i%64)) == 0 || r.pushed != (layer == 1) {
			continue
		}
		v.overlay(&r.set)
		if r.key != "" {
			v.key = r.key
		}
	}
}

// Killed returns the first kill that covers a call now, or nil; it is not to be changed.
func (s *Compiled) Killed(scheme, host, method, path, grpcMethod string, now time.Time) *Kill {
	if len(s.Kills) == 0 {
		return nil
	}
	call := newSubject(scheme, host, method, path, grpcMethod)
	for i := range s.Kills {
		k := &s.Kills[i]
		if !k.kill.over(now) && k.fits(&call) {
			return &k.kill.Kill
		}
	}
	return nil
}

// KilledHost returns the first kill that covers every call to a host now, or nil. Where the host
// names no port, a kill of either usual port is enough. The empty host is covered by kills of every
// call.
func (s *Compiled) KilledHost(host string, now time.Time) *Kill {
	for i := range s.Kills {
		k := &s.Kills[i]
		whole := len(k.methods) == 0 && k.path == "" && k.grpc == ""
		if !whole || k.kill.over(now) {
			continue
		}
		for _, scheme := range [...]string{"https", "http"} {
			if call := newSubject(scheme, host, "", "", ""); k.fits(&call) {
				return &k.kill.Kill
			}
		}
	}
	return nil
}

// nudgersOf are the hosts whose word counts: those of the document's list, else of the application's own,
// else those that rules name. One that can't be understood is nobody.
func nudgersOf(local, pushed *Document) (hosts []matcher) {
	names := pushed.Nudge
	if names == nil {
		names = local.Nudge
	}
	if names == nil {
		for _, cfg := range [2]*Document{local, pushed} {
			for _, r := range cfg.Rules[:min(len(cfg.Rules), MaxRules)] {
				names = append(names, r.Match.Host)
			}
		}
	}
	hosts = make([]matcher, 0, len(names))
	for _, name := range names {
		if m, ok := understoodMatch(Match{Host: name}); ok && name != "" {
			hosts = append(hosts, m)
		}
	}
	return hosts
}

// HearsNudges tells whether a host's word about newer documents counts. Where it has no port, a name with
// either usual port will do.
func (s *Compiled) HearsNudges(host string) bool {
	for _, scheme := range [...]string{"https", "http"} {
		call := newSubject(scheme, host, "", "", "")
		for i := range s.nudgers {
			if s.nudgers[i].fits(&call) {
				return true
			}
		}
	}
	return false
}

// Divisions are the rules that give their calls a target of their own.
func (s *Compiled) Divisions() map[string]matcher {
	divide := make(map[string]matcher)
	for i := range s.rules {
		if r := &s.rules[i]; r.key != "" {
			divide[r.key] = r.matcher
		}
	}
	return divide
}
