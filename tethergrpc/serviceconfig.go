package tethergrpc

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/tether-go/tether/policy"
)

// ServiceConfig is a gRPC service config in tether's terms: what [ParseServiceConfig] makes of one.
type ServiceConfig struct {
	// Rules are its methodConfig and retryThrottling, for the Rules of a [policy.Document], before the
	// application's own. As in gRPC a method has the settings of its narrowest name alone: of a method
	// before its service's before everybody's; what the entry doesn't set is as in gRPC, so an entry
	// without a retryPolicy means one attempt. Methods that no entry names keep the settings of the application's own.
	Rules []policy.Rule
	// Channel is what stays the channel's own to do, as JSON for [Options].ServiceConfig: everything
	// but the policies for repeats.
	Channel string
	// Differences are where tether does otherwise than the config says. What differs for every config is
	// in this module's README.
	Differences []Difference

	named []string // "/package.Service/Method", or "/package.Service/"
}

// Difference is one member of a service config that is not in force as it stands.
type Difference struct {
	// Path tells where, such as methodConfig[0].retryPolicy.maxAttempts.
	Path string
	// Text says what is done instead, and why.
	Text string
}

// String is the difference in one line.
func (d Difference) String() string { return d.Path + ": " + d.Text }

// ParseServiceConfig reads a service config as gRPC defines it (service_config.proto; gRFC A6 for
// repeats), as a team may have one already, for the server whose calls have that host: the host of
// the channel's target, with the port if it matters. Host may be "" for a config that names services only;
// then it is for every server that has them. HTTP calls to the host have what is said of every method too.
//
// What gRPC forbids is an error, a *[policy.Error] with the path of each mistake, and so is a
// method that a service whose descriptor is linked in doesn't have. It does no I/O.
func ParseServiceConfig(text, host string) (ServiceConfig, error) {
	r := configReader{host: host}
	if err := (policy.Document{Rules: []policy.Rule{{Match: policy.Match{Host: host}}}}).Validate(); err != nil {
		r.refuse("host", "is no host", `write "shop.example.com" or "shop.example.com:8443", or "" for none`)
		return ServiceConfig{}, r.err()
	}
	r.config(text)
	if err := r.err(); err != nil {
		return ServiceConfig{}, err
	}
	// What is said of everybody comes first: of rules the last wins.
	slices.SortStableFunc(r.out.Rules, func(a, b policy.Rule) int {
		return cmp.Compare(width(a.Match.GRPCMethod), width(b.Match.GRPCMethod))
	})
	for i := range r.out.Rules {
		untime(r.out.Rules[:i], &r.out.Rules[i])
	}
	if err := (policy.Document{Rules: r.out.Rules}).Validate(); err != nil { // their number
		return ServiceConfig{}, fmt.Errorf("tethergrpc: service config: %w", err)
	}
	return r.out, nil
}

// untime lets a rule without a timeout have none of a wider rule's.
func untime(wider []policy.Rule, rule *policy.Rule) {
	for _, w := range wider {
		if rule.Call.Timeout == nil && w.Call.Timeout != nil && rule.Call.RetryPolicy != nil &&
			strings.HasPrefix(rule.Match.GRPCMethod, w.Match.GRPCMethod) {
			rule.Call.Timeout = new(time.Duration)
		}
	}
}

// width is 0 for every method, 1 for those of a service, 2 for one.
func width(grpcMethod string) int {
	switch {
	case grpcMethod == "":
		return 0
	case strings.HasSuffix(grpcMethod, "/"):
		return 1
	}
	return 2
}

// Check tells whether the config speaks of these services, as generated code describes them
// (shop.Stock_ServiceDesc): an error is a service that no entry names, which a mis-spelt name looks
// like, or a name whose service has no such method. What is said of every method doesn't count.
func (s ServiceConfig) Check(services ...*grpc.ServiceDesc) error {
	var problems []error
	for _, service := range services {
		prefix, found := "/"+service.ServiceName+"/", false
		for _, name := range s.named {
			method, of := strings.CutPrefix(name, prefix)
			found = found || of
			if of && method != "" && !has(service, method) {
				problems = append(problems, fmt.Errorf("tethergrpc: the service config names %s, but %s has no such method",
					name, service.ServiceName))
			}
		}
		if !found {
			problems = append(problems, fmt.Errorf("tethergrpc: the service config does not name %s, only %q",
				service.ServiceName, s.named))
		}
	}
	return errors.Join(problems...)
}

func has(service *grpc.ServiceDesc, method string) bool {
	return slices.ContainsFunc(service.Methods, func(m grpc.MethodDesc) bool { return m.MethodName == method }) ||
		slices.ContainsFunc(service.Streams, func(s grpc.StreamDesc) bool { return s.StreamName == method })
}
