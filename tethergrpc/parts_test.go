package tethergrpc

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/hint"
)

func TestTargets(t *testing.T) {
	for _, test := range []struct {
		canonical, share string
		want             target
	}{
		{"dns:///Api.Example.com:8443", "", target{"grpc", "api.example.com:8443"}},
		{"dns:///api.example.com", "", target{"grpc", "api.example.com:443"}},
		{"dns://8.8.8.8/api.example.com:50051", "", target{"grpc", "api.example.com:50051"}},
		{"dns:///[::1]:50051", "", target{"grpc", "[::1]:50051"}},
		{"dns:///[::1]", "", target{"grpc", "[::1]:443"}},
		{"dns:///Api.Example.com.:08443", "", target{"grpc", "api.example.com:8443"}},
		{"dns:///api.example.com.:0443", "https", target{"https", "api.example.com"}},
		{"dns:///:", "", target{"grpc", ":"}},
		{"passthrough:///bufnet", "", target{"grpc", "bufnet"}},
		{"dns:///api.example.com:443", "https", target{"https", "api.example.com"}},
		{"dns:///api.example.com:8443", "https", target{"https", "api.example.com:8443"}},
		{"dns:///api.example.com:80", "http", target{"http", "api.example.com"}},
		{"unix:///run/orders.sock", "", target{"grpc", "unix:/run/orders.sock"}},
		{"unix-abstract:///orders", "", target{"grpc", "unix-abstract:orders"}},
		{"xds:///orders", "", target{"grpc", "xds:orders"}},
		{"xds://boss/orders", "", target{"grpc", "xds://boss/orders"}},
		{"", "", target{"grpc", ":"}},
	} {
		if got := newTarget(test.canonical, test.share); got != test.want {
			t.Errorf("%q: %v, want %v", test.canonical, got, test.want)
		}
	}
}

func FuzzTargets(f *testing.F) {
	f.Add("dns:///a:1")
	f.Add("dns:///[::1]")
	f.Add("xds://a/b")
	f.Fuzz(func(t *testing.T, canonical string) {
		once := newTarget(canonical, "")
		if once.scheme != "grpc" || once.host == "" && strings.HasPrefix(canonical, "dns://") {
			t.Errorf("%q: %v", canonical, once)
		}
		if again := newTarget(canonical, ""); again != once {
			t.Errorf("%q: %v, then %v", canonical, once, again)
		}
	})
}

func TestMemoIsBounded(t *testing.T) {
	var m memo[string, int]
	for i := range 3 * maxMemo {
		m.put(fmt.Sprint(i), i)
	}
	if got, ok := m.get("7"); got != 7 || !ok {
		t.Errorf("7 is %d, %v", got, ok)
	}
	if _, ok := m.get("2500"); ok || len(*m.known.Load()) != maxMemo {
		t.Errorf("%d known", len(*m.known.Load()))
	}
}

// TestIdempotencyLevel reads what a service's descriptor declares.
func TestIdempotencyLevel(t *testing.T) {
	method := func(name string, level *descriptorpb.MethodOptions_IdempotencyLevel) *descriptorpb.MethodDescriptorProto {
		return &descriptorpb.MethodDescriptorProto{Name: &name, InputType: proto.String(".tether.test.Empty"),
			OutputType: proto.String(".tether.test.Empty"), Options: &descriptorpb.MethodOptions{IdempotencyLevel: level}}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("tether/test.proto"), Package: proto.String("tether.test"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Empty")}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("Shop"),
			Method: []*descriptorpb.MethodDescriptorProto{
				method("Get", descriptorpb.MethodOptions_NO_SIDE_EFFECTS.Enum()),
				method("Put", descriptorpb.MethodOptions_IDEMPOTENT.Enum()),
				method("Order", nil),
				method("Pay", descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN.Enum()),
			}}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := protoregistry.GlobalFiles.FindFileByPath(file.Path()); err != nil { // else a run of -count before
		if err := protoregistry.GlobalFiles.RegisterFile(file); err != nil {
			t.Fatal(err)
		}
	}
	e, err := newEdge(newEngine(t, policy.Document{}, tether.Options{}), Options{Idempotent: []string{"/tether.test.Shop/Pay"}})
	if err != nil {
		t.Fatal(err)
	}
	channel := idle(t)
	for name, want := range map[string]bool{"Get": true, "Put": true, "Order": false, "Pay": true, "None": false, "Empty": false} {
		what := e.known(channel, "/tether.test.Shop/"+name).call
		if what.Idempotent != want || what.Service != "tether.test.Shop" {
			t.Errorf("%s: %+v", name, what)
		}
	}
	for _, odd := range []string{"", "/", "//", "x", "/tether.test.Shop", "/tether.test/Shop", "/a b/c"} {
		if e.known(channel, odd).call.Idempotent {
			t.Errorf("%q is idempotent", odd)
		}
	}
}

func TestClassify(t *testing.T) {
	trailersOnly := answer{trailer: metadata.Pairs("content-type", "application/grpc")}
	afterHeader := answer{header: metadata.Pairs("content-type", "application/grpc")}
	none := answer{}
	type want struct {
		class       tether.Class
		answered    bool
		partitioned bool
	}
	ignored, healthy := want{tether.Ignored, false, false}, want{tether.Healthy, true, false}
	fault := want{tether.Transient, true, false}
	for _, test := range []struct {
		code               codes.Code
		none, header, only want
	}{
		{codes.Unavailable, want{tether.Transient, false, false}, fault, want{tether.Overloaded, true, false}},
		{codes.ResourceExhausted, ignored, healthy, want{tether.Overloaded, true, true}},
		{codes.DeadlineExceeded, want{tether.Transient, false, false}, fault, fault},
		{codes.Canceled, fault, fault, fault},
		{codes.Internal, ignored, fault, fault},
		{codes.Unknown, ignored, fault, fault},
		{codes.DataLoss, ignored, fault, fault},
		{codes.InvalidArgument, ignored, healthy, healthy},
		{codes.NotFound, ignored, healthy, healthy},
		{codes.AlreadyExists, ignored, healthy, healthy},
		{codes.PermissionDenied, ignored, healthy, healthy},
		{codes.FailedPrecondition, ignored, healthy, healthy},
		{codes.Aborted, ignored, healthy, healthy},
		{codes.OutOfRange, ignored, healthy, healthy},
		{codes.Unimplemented, ignored, healthy, healthy},
		{codes.Unauthenticated, ignored, healthy, healthy},
	} {
		for i, a := range []answer{none, afterHeader, trailersOnly} {
			var out tether.Outcome
			classify(&out, status.New(test.code, ""), a)
			expected := []want{test.none, test.header, test.only}[i]
			if got := (want{out.Class, out.Answered, out.Partitioned}); got != expected {
				t.Errorf("%v, %d: %v, want %v", test.code, i, got, expected)
			}
		}
	}
}

// unnamed returns a quota failure with n violations that name nothing, before the others.
func unnamed(n int, others *errdetails.QuotaFailure) *errdetails.QuotaFailure {
	var failure errdetails.QuotaFailure
	for range n {
		failure.Violations = append(failure.Violations, &errdetails.QuotaFailure_Violation{})
	}
	failure.Violations = append(failure.Violations, others.Violations...)
	return &failure
}

func TestHints(t *testing.T) {
	info := func(d time.Duration) *errdetails.RetryInfo {
		return &errdetails.RetryInfo{RetryDelay: durationpb.New(d)}
	}
	quota := &errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{QuotaId: "per-user", QuotaValue: 100}}}
	for _, test := range []struct {
		name    string
		header  metadata.MD
		trailer metadata.MD
		detail  *errdetails.RetryInfo
		quota   *errdetails.QuotaFailure
		wait    time.Duration
		said    bool
		verdict hint.Verdict
		part    string
	}{
		{name: "nothing", header: metadata.Pairs("x-envoy-upstream-service-time", "3")},
		{name: "RetryInfo", detail: info(3 * time.Second), wait: 3 * time.Second, said: true},
		{name: "RetryInfo of nothing", detail: &errdetails.RetryInfo{}},
		{name: "RetryInfo under zero", detail: info(-time.Second)},
		{name: "pushback", trailer: metadata.Pairs(pushbackKey, "1500"), wait: 1500 * time.Millisecond, said: true},
		{name: "the longer", trailer: metadata.Pairs(pushbackKey, "1500"), detail: info(time.Second),
			wait: 1500 * time.Millisecond, said: true},
		{name: "no", trailer: metadata.Pairs(pushbackKey, "-5"), verdict: hint.DontRepeat},
		{name: "Retry-After in the trailer", trailer: metadata.Pairs("retry-after", "7"), wait: 7 * time.Second, said: true},
		{name: "Retry-After in the header", header: metadata.Pairs("retry-after", "7"), detail: info(9 * time.Second),
			wait: 9 * time.Second, said: true},
		{name: "Retry-After is longer", header: metadata.Pairs("retry-after", "7"), detail: info(time.Second),
			wait: 7 * time.Second, said: true},
		{name: "no, and Retry-After", header: metadata.Pairs("retry-after", "7"), trailer: metadata.Pairs(pushbackKey, "x"),
			wait: 7 * time.Second, said: true, verdict: hint.DontRepeat},
		{name: "a proxy's no", header: metadata.Pairs("x-should-retry", "false"), verdict: hint.DontRepeat},
		{name: "QuotaFailure", quota: quota, part: "per-user"},
		{name: "QuotaFailure without end", quota: unnamed(16, quota)},
	} {
		st := status.New(codes.ResourceExhausted, "")
		if test.detail != nil {
			st, _ = st.WithDetails(test.detail)
		}
		if test.quota != nil {
			st, _ = st.WithDetails(test.quota)
		}
		h := hintOf(test.header, test.trailer, st)
		if h.Wait != test.wait || h.Explicit != test.said || h.Verdict != test.verdict || h.Partition != test.part {
			t.Errorf("%s: %+v", test.name, h)
		}
	}
	h := hintOf(metadata.Pairs("ratelimit", `"day";r=0;t=30`), nil, nil)
	if !h.Quota.Exhausted() || h.Quota.Reset != 30*time.Second {
		t.Errorf("a quota on a good answer: %+v", h)
	}
}

// FuzzHints: nothing that a server sends turns into less than no wait, or panics.
func FuzzHints(f *testing.F) {
	f.Add("5", "1500", int64(1), int32(1))
	f.Add("Wed, 21 Oct 2015 07:28:00 GMT", "-1", int64(-1), int32(-1))
	f.Fuzz(func(t *testing.T, after, pushback string, seconds int64, nanos int32) {
		detail := &errdetails.RetryInfo{RetryDelay: &durationpb.Duration{Seconds: seconds, Nanos: nanos}}
		st, err := status.New(codes.Unavailable, "").WithDetails(detail)
		if err != nil {
			t.Skip()
		}
		h := hintOf(metadata.Pairs("retry-after", after), metadata.Pairs(pushbackKey, pushback), st)
		if h.Wait < 0 || h.MinWait(0) < 0 {
			t.Errorf("a wait of %v", h.Wait)
		}
		if asked := detail.RetryDelay.AsDuration(); h.Verdict != hint.DontRepeat && h.Wait < asked {
			t.Errorf("a wait of %v, asked for %v", h.Wait, asked)
		}
	})
}
