package tethergrpc

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/retry"
)

const (
	maxConfigText   = 1 << 20 // bytes
	maxGRPCAttempts = 5       // gRFC A6: more is read as this

	// What a rule may say.
	leastBackoff = time.Millisecond
	leastTimeout = 10 * time.Millisecond
	mostDuration = 24 * time.Hour
	mostGrowth   = 10

	mostNames  = 1000 // as many rules
	mostBudget = 0.1  // re-attempts are at most a tenth of the calls that succeeded
)

// configReader makes a ServiceConfig of a text.
type configReader struct {
	host     string
	out      ServiceConfig
	problems []policy.Problem
}

func (r *configReader) refuse(path, problem, hint string) {
	const most = 100 // nobody reads more
	if len(r.problems) < most {
		r.problems = append(r.problems, policy.Problem{Path: path, Problem: problem, Hint: hint})
	}
}

func (r *configReader) differ(path, text string) {
	r.out.Differences = append(r.out.Differences, Difference{path, text})
}

func (r *configReader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	return fmt.Errorf("tethergrpc: service config: %w", &policy.Error{Problems: r.problems})
}

// config reads the whole text, and keeps for the channel what is not tether's.
func (r *configReader) config(text string) {
	if len(text) > maxConfigText {
		r.refuse("", fmt.Sprintf("has %d bytes, more than %d", len(text), maxConfigText), "")
		return
	}
	if !json.Valid([]byte(text)) {
		r.refuse("", "is not JSON", "check it with a JSON formatter")
		return
	}
	whole := r.object("", json.RawMessage(text), "methodConfig", "retryThrottling", "loadBalancingConfig",
		"loadBalancingPolicy", "healthCheckConfig")
	if whole == nil {
		return
	}
	channel := make([]map[string]json.RawMessage, 0)
	for i, entry := range r.list("methodConfig", whole["methodConfig"]) {
		if kept := r.methodConfig(fmt.Sprintf("methodConfig[%d]", i), entry); kept != nil {
			channel = append(channel, kept)
		}
	}
	if raw, ok := whole["retryThrottling"]; ok {
		r.throttling("retryThrottling", raw)
	}
	delete(whole, "retryThrottling")
	if delete(whole, "methodConfig"); len(channel) > 0 {
		whole["methodConfig"], _ = json.Marshal(channel) // of raw messages that are valid
	}
	kept, _ := json.Marshal(whole)
	r.out.Channel = string(kept)
}

// methodConfig reads one entry, and returns what stays of it for the channel: its timeout too, which
// there bounds each attempt, and streams.
func (r *configReader) methodConfig(path string, raw json.RawMessage) map[string]json.RawMessage {
	entry := r.object(path, raw, "name", "waitForReady", "timeout", "maxRequestMessageBytes",
		"maxResponseMessageBytes", "retryPolicy", "hedgingPolicy")
	if entry == nil {
		return nil
	}
	call := policy.CallSettings{RetryPolicy: &policy.RetrySettings{MaxAttempts: policy.Ptr(1)}}
	if raw, ok := entry["timeout"]; ok {
		path := path + ".timeout"
		call.Timeout = policy.Ptr(r.bounded(path, r.duration(path, raw), leastTimeout))
	}
	repeats, retries := entry["retryPolicy"]
	hedging, hedges := entry["hedgingPolicy"]
	switch {
	case retries && hedges:
		r.refuse(path, "has both a retryPolicy and a hedgingPolicy", "keep one (gRFC A6)")
	case retries:
		call.RetryPolicy = r.retryPolicy(path+".retryPolicy", repeats)
	case hedges:
		call.RetryPolicy = r.hedgingPolicy(path+".hedgingPolicy", hedging)
	}
	delete(entry, "retryPolicy")
	delete(entry, "hedgingPolicy")
	names := r.names(path+".name", entry["name"])
	for _, name := range names {
		r.out.Rules = append(r.out.Rules, policy.Rule{Call: call,
			Match: policy.Match{Host: r.host, GRPCMethod: name}})
	}
	if retries || hedges {
		r.unsafe(path, names)
	}
	return entry
}

// unsafe tells which of the names are not known to be repeatable.
func (r *configReader) unsafe(path string, names []string) {
	var doubtful []string
	for _, name := range names {
		service, method, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
		if !idempotencyLevel(service, method) {
			doubtful = append(doubtful, cmp.Or(name, "any method"))
		}
	}
	if len(doubtful) > 0 {
		r.differ(path, "what may have reached the server is repeated only where its descriptor, Options.Idempotent or "+
			"the call says that it is idempotent; nothing known here says so of "+strings.Join(doubtful, ", "))
	}
}

// retryPolicy reads what gRFC A6 says of repeats.
func (r *configReader) retryPolicy(path string, raw json.RawMessage) *policy.RetrySettings {
	members := r.object(path, raw, "maxAttempts", "initialBackoff", "maxBackoff", "backoffMultiplier",
		"retryableStatusCodes")
	if members == nil {
		return nil
	}
	initial := r.backoff(path+".initialBackoff", members["initialBackoff"])
	most := r.backoff(path+".maxBackoff", members["maxBackoff"])
	settings := &policy.RetrySettings{MaxAttempts: r.attempts(path+".maxAttempts", members["maxAttempts"]),
		InitialBackoff: policy.Ptr(min(initial, most)), MaxBackoff: &most,
		BackoffMultiplier: r.growth(path+".backoffMultiplier", members["backoffMultiplier"]),
		Jitter:            policy.Ptr(retry.JitterEqual)}
	at := path + ".retryableStatusCodes"
	settings.RetryableStatusCodes = r.codes(at, members["retryableStatusCodes"])
	if len(settings.RetryableStatusCodes) == 0 {
		r.refuse(at, "has no code", `write codes such as "UNAVAILABLE"`)
	}
	return settings
}

// hedgingPolicy becomes repeats one after the other: never more calls at once than the application
// makes, and no fewer chances after a failure that isn't fatal.
func (r *configReader) hedgingPolicy(path string, raw json.RawMessage) *policy.RetrySettings {
	members := r.object(path, raw, "maxAttempts", "hedgingDelay", "nonFatalStatusCodes")
	if members == nil {
		return nil
	}
	if raw, ok := members["hedgingDelay"]; ok {
		if r.duration(path+".hedgingDelay", raw) < 0 {
			r.refuse(path+".hedgingDelay", "is negative", `write a duration such as "0.5s"`)
		}
	}
	usual := retry.Policy{}.WithDefaults() // else a wider entry's would be in force
	settings := &policy.RetrySettings{MaxAttempts: r.attempts(path+".maxAttempts", members["maxAttempts"]),
		InitialBackoff: &usual.InitialBackoff, MaxBackoff: &usual.MaxBackoff, BackoffMultiplier: &usual.Multiplier,
		Jitter: &usual.Jitter, RetryableStatusCodes: []policy.StatusCode{}}
	if raw, ok := members["nonFatalStatusCodes"]; ok {
		settings.RetryableStatusCodes = append(settings.RetryableStatusCodes, r.codes(path+".nonFatalStatusCodes", raw)...)
	}
	r.differ(path, "gRPC calls are not hedged: after a failure that isn't fatal the next attempt follows, with back-off")
	return settings
}

// throttling becomes the budget of the host (gRFC A6, Throttling Retry Attempts and Hedged RPCs): in
// the long run both allow tokenRatio repeats for each success.
func (r *configReader) throttling(path string, raw json.RawMessage) {
	members := r.object(path, raw, "maxTokens", "tokenRatio")
	if members == nil {
		return
	}
	tokens := r.number(path+".maxTokens", members["maxTokens"])
	if !(tokens > 0 && tokens <= 1000) {
		r.refuse(path+".maxTokens", "is not above 0 and at most 1000", "write a number such as 10")
	}
	ratio := r.number(path+".tokenRatio", members["tokenRatio"])
	if !(ratio > 0) {
		r.refuse(path+".tokenRatio", "is not above 0", "write a number such as 0.1")
	}
	if r.host == "" {
		r.refuse(path, "is of a server, and there is no host", "say the host, or set Config.Defaults")
		return
	}
	ratio = math.Floor(ratio*1000+1e-6) / 1000 // three decimals count
	switch {
	case tokens <= 2: // one failure leaves no more than half of them
		ratio = 0
		r.differ(path+".maxTokens", "2 or less lets gRPC repeat nothing, ever; the budget is 0")
	case ratio == 0:
		r.differ(path+".tokenRatio", "three decimals count: it is 0, and nothing is repeated")
	case ratio > mostBudget:
		ratio = mostBudget
		r.differ(path+".tokenRatio", "repeats are at most a tenth of what succeeded: read as 0.1")
	}
	r.differ(path, "each service of the host has a budget of its own, which starts with one repeat saved, not with half of "+
		"maxTokens, and is earned by successes alone")
	r.out.Rules = append(r.out.Rules, policy.Rule{Match: policy.Match{Host: r.host},
		Target: policy.TargetSettings{RetryBudget: &policy.BudgetSettings{Ratio: &ratio}}})
}

// codes reads names, in any case, and numbers.
func (r *configReader) codes(path string, raw json.RawMessage) (list []policy.StatusCode) {
	for i, item := range r.list(path, raw) {
		at := fmt.Sprintf("%s[%d]", path, i)
		var code codes.Code
		err := code.UnmarshalJSON(bytes.ToUpper(bytes.TrimSpace(item)))
		switch {
		case err != nil || string(item) == "null":
			r.refuse(at, "is not a gRPC code", `write a code such as "UNAVAILABLE", or its number`)
		case code == codes.OK:
			r.refuse(at, "OK is no failure", `write a code such as "UNAVAILABLE", or its number`)
		default:
			list = append(list, policy.StatusCode(code))
		}
		if code == codes.ResourceExhausted {
			r.differ(at, "RESOURCE_EXHAUSTED is repeated only where the server says when")
		}
	}
	return list
}
