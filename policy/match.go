package policy

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// matcher is a Match made ready to be compared with many calls. Every part that is set must fit.
type matcher struct {
	host    string // lower case; with its dot for a wildcard, as in ".example.com"
	below   bool   // host is a domain whose subdomains fit
	port    string
	methods []string
	path    string // canonical
	byPath  bool
	grpc    string
	service bool // grpc is a service with its slashes, whose methods all fit
}

// subject is a call made ready to be compared with many matchers.
type subject struct {
	host, port string
	method     string
	path       string
	grpc       string
}

// newSubject takes the parts of a call as its request has them: the host with or without a port,
// the path still escaped, and the full gRPC method for a gRPC call. It allocates only for paths and
// hosts that are written in an uncommon way. An empty method is GET, as in net/http, or gRPC's
// POST.
func newSubject(scheme, host, method, path, grpcMethod string) subject {
	if path == "" {
		path = grpcMethod // on the wire it is the path; the empty path of plain HTTP is the root
	}
	if method == "" {
		method = "GET"
		if grpcMethod != "" {
			method = "POST"
		}
	}
	s := subject{method: method, path: canonicalPath(path), grpc: grpcMethod}
	s.host, s.port = splitHost(host)
	if s.port == "" {
		switch scheme {
		case "https":
			s.port = "443"
		case "http":
			s.port = "80"
		}
	}
	return s
}

func (m *matcher) fits(s *subject) bool {
	switch {
	case m.below && (len(s.host) <= len(m.host) || !strings.HasSuffix(s.host, m.host)):
		return false
	case !m.below && m.host != "" && m.host != s.host:
		return false
	case m.port != "" && m.port != s.port:
		return false
	case m.byPath && !underPath(s.path, m.path):
		return false
	case m.service && (len(s.grpc) <= len(m.grpc) || !strings.HasPrefix(s.grpc, m.grpc)):
		return false
	case !m.service && m.grpc != "" && m.grpc != s.grpc:
		return false
	}
	return len(m.methods) == 0 || slices.Contains(m.methods, s.method)
}

// underPath tells whether a canonical path is prefix or below it, in whole segments.
func underPath(path, prefix string) bool {
	return strings.HasPrefix(path, prefix) &&
		(len(path) == len(prefix) || path[len(prefix)] == '/')
}

// newMatcher makes a Match ready and reports each member that cannot be understood; the matcher is
// of use only when there is none.
func newMatcher(m Match, report func(member, problem, hint string)) matcher {
	var ready matcher
	ready.setHost(m.Host, report)
	for i, method := range m.Method {
		if !isCapitals(method) {
			report("method["+strconv.Itoa(i)+"]", "is not an HTTP method in capitals",
				`write methods such as "GET"`)
		}
	}
	ready.methods = m.Method
	if m.Path != "" {
		if m.Path[0] != '/' || strings.ContainsAny(m.Path, "?#*") {
			report("path", "is not a plain path",
				`write a path such as "/v1/search", without query or wildcard`)
		}
		ready.byPath = true
		ready.path = canonicalPath(m.Path)
	}
	if m.GRPCMethod != "" {
		service, method, ok := strings.Cut(strings.TrimPrefix(m.GRPCMethod, "/"), "/")
		if m.GRPCMethod[0] != '/' || !ok || service == "" || strings.ContainsAny(service, "* ") ||
			strings.ContainsAny(method, "/* ") {
			report("grpcMethod", "is not a gRPC method",
				`write "/package.Service/Method", or "/package.Service/" for the whole service`)
		}
		ready.grpc, ready.service = m.GRPCMethod, method == ""
	}
	return ready
}

func (m *matcher) setHost(pattern string, report func(member, problem, hint string)) {
	if pattern == "" {
		return
	}
	const hint = `write "api.example.com", "*.example.com" or "api.example.com:8443"`
	if strings.Contains(pattern, "://") {
		report("host", "is a URL, not a host", hint+`; the URL's path goes into "path"`)
		return
	}
	name, below := strings.CutPrefix(pattern, "*.")
	m.below = below
	m.host, m.port = splitHost(name)
	bracketed := strings.HasPrefix(m.host, "[") && strings.HasSuffix(m.host, "]")
	switch {
	case m.host == "" || m.host[0] == '.':
		report("host", "has no host", hint)
	case strings.Contains(m.host, "*"):
		report("host", "has a wildcard that is not a first whole label", hint)
	case strings.ContainsAny(m.host, "/?#@ \t\r\n"):
		report("host", "is more than a host", hint)
	case strings.ContainsAny(m.host, ":[]") && !bracketed:
		report("host", "is an IPv6 address without brackets", `write "[2001:db8::1]"`)
	}
	if _, port, ok := cutPort(name); ok {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			report("host", "has a port that is not from 1 to 65535", hint)
		}
	}
	if below {
		m.host = "." + m.host
	}
}

// isCapitals tells a method in capitals from everything else; methods are case-sensitive tokens
// (RFC 9110, section 9.1), and none in use has a small letter.
func isCapitals(method string) bool {
	for _, r := range method {
		if (r < 'A' || r > 'Z') && r != '-' && r != '_' {
			return false
		}
	}
	return method != ""
}

// splitHost parts a host from its port, and takes from both what makes no difference to where a
// call goes: case, the final dots of a fully qualified name, the spelling of an IPv6 address, leading
// zeros of a port.
func splitHost(hostport string) (host, port string) {
	host, port, _ = cutPort(hostport)
	if trimmed := strings.TrimLeft(port, "0"); trimmed != "" || port == "" {
		port = trimmed
	} else {
		port = "0" // which is no server's, and not the default port either
	}
	return canonicalAddress(strings.ToLower(strings.TrimRight(host, "."))), port
}

// canonicalAddress spells an IPv6 address in brackets as RFC 5952 does; one with a zone stays as it is.
func canonicalAddress(host string) string {
	if len(host) < 2 || host[0] != '[' || host[len(host)-1] != ']' || strings.IndexByte(host, '%') >= 0 {
		return host
	}
	address, err := netip.ParseAddr(host[1 : len(host)-1])
	if err != nil {
		return host
	}
	var buffer [48]byte
	text := append(address.AppendTo(append(buffer[:0], '[')), ']')
	if string(text) == host {
		return host
	}
	return string(text)
}

// cutPort knows that an IPv6 address in brackets has colons of its own, and one without has no
// port.
func cutPort(hostport string) (host, port string, ok bool) {
	colon := strings.LastIndexByte(hostport, ':')
	bracket := strings.LastIndexByte(hostport, ']')
	if colon <= bracket || bracket < 0 && strings.IndexByte(hostport, ':') != colon {
		return hostport, "", false
	}
	return hostport[:colon], hostport[colon+1:], true
}

// canonicalPath decodes and cleans an escaped path, so that two ways of writing one path are equal:
// escapes become what they stand for, empty and dot segments go, and a final slash too; the root is
// empty. Two characters stay escaped, so that nothing can be mistaken: the slash, because %2F is
// data and divides no segments (RFC 3986, section 2.2), and the percent sign.
//
// Segments are cleaned after they were decoded, for servers treat %2e%2e as ".." (RFC 3986, section
// 6.2.2.2), and never joined over an encoded slash: "/a/..%2Fb" stays below /a.
func canonicalPath(path string) string {
	path = strings.TrimSuffix(path, "/")
	if isCanonical(path) {
		return path
	}
	var segments []string
	for segment := range strings.SplitSeq(path, "/") {
		switch segment = decodeSegment(segment); segment {
		case "", ".":
		case "..":
			segments = segments[:max(len(segments)-1, 0)]
		default:
			segments = append(segments, segment)
		}
	}
	if len(segments) == 0 {
		return ""
	}
	return "/" + strings.Join(segments, "/")
}

// isCanonical tells whether a path without its final slash needs no work: no escapes, and no empty
// or dot segments.
func isCanonical(path string) bool {
	if path == "" {
		return true
	}
	if path[0] != '/' {
		return false
	}
	start := 1
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			if path[i] == '%' {
				return false
			}
			continue
		}
		switch path[start:i] {
		case "", ".", "..":
			return false
		}
		start = i + 1
	}
	return true
}

// decodeSegment decodes the escapes of one segment, but for %2F and %25. A percent sign that begins
// no escape stands for itself.
func decodeSegment(segment string) string {
	if strings.IndexByte(segment, '%') < 0 {
		return segment
	}
	out := make([]byte, 0, len(segment))
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		if c == '%' && i+2 < len(segment) {
			if n, err := strconv.ParseUint(segment[i+1:i+3], 16, 8); err == nil {
				c = byte(n)
				i += 2
			}
		}
		switch {
		case c == '/':
			out = append(out, "%2F"...)
		case c == '%':
			out = append(out, "%25"...)
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

// WholeHost tells whether m covers all calls to the hosts that it names.
func (m Match) WholeHost() bool { return len(m.Method) == 0 && m.Path == "" && m.GRPCMethod == "" }

// OriginOf names the server of a URL's parts in the one form that learnt state, rules and routes go by: what
// splitHost says of the host, without the scheme's default port or an empty one. It allocates only for what is
// written in an uncommon way.
func OriginOf(scheme, hostport string) (string, string) {
	scheme = strings.ToLower(scheme)
	host, port := splitHost(hostport)
	switch {
	case port == "", scheme == "http" && port == "80", scheme == "https" && port == "443":
		return scheme, host
	case len(host)+1+len(port) == len(hostport) && strings.HasPrefix(hostport, host):
		return scheme, hostport
	}
	return scheme, host + ":" + port
}
