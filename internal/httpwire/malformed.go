package httpwire

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync"
)

// A request that can't be sent as it is says nothing about the server, and a repeat would end in the same way. net/http
// has no type for most of these errors, so the request itself is looked at, once an attempt has failed: what succeeds
// pays nothing.

// IsMalformed tells whether net/http refuses to send a request.
func IsMalformed(req *http.Request) bool {
	if req.Method != "" && !IsToken(req.Method) || strings.ContainsFunc(req.Host, isControl) ||
		strings.ContainsFunc(req.URL.Host, isControl) {
		return true
	}
	for _, fields := range [...]http.Header{req.Header, req.Trailer} {
		for name, values := range fields {
			if !IsToken(name) {
				return true
			}
			for _, value := range values {
				if strings.ContainsFunc(value, func(r rune) bool { return r != '\t' && isControl(r) }) {
					return true
				}
			}
		}
	}
	for name := range req.Trailer { // RFC 9110, section 6.5.1
		switch http.CanonicalHeaderKey(name) {
		case "Transfer-Encoding", "Trailer", "Content-Length":
			return true
		}
	}
	return req.Body == nil && req.ContentLength > 0
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// NotedBody remembers how a stream that is sent ended: its own error, or another length than the request says.
type NotedBody struct {
	io.ReadCloser
	length int64 // that the request says; -1: unknown

	mu     sync.Mutex // guards what follows: net/http may read on when the attempt is over
	read   int64
	err    error // of the source, io.EOF too, before it was closed
	closed bool
}

// NoteBody lets an attempt's request tell why its body failed. A body that can be opened again is looked at afterwards,
// and a file goes to the network by itself.
func NoteBody(req *http.Request) *NotedBody {
	if req.Body == nil || req.Body == http.NoBody || req.GetBody != nil {
		return nil
	}
	if _, isFile := req.Body.(*os.File); isFile {
		return nil
	}
	noted := &NotedBody{ReadCloser: req.Body, length: req.ContentLength}
	if noted.length <= 0 {
		noted.length = -1
	}
	req.Body = noted
	return noted
}

// Read reads the source.
func (b *NotedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.read += int64(n); err != nil && !b.closed { // else the transport has given up, and the error may be its doing
		b.err = err
	}
	return n, err
}

// Close closes the source.
func (b *NotedBody) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	return b.ReadCloser.Close()
}

// Failed tells whether the body is why the attempt failed.
func (b *NotedBody) Failed() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil && b.err != io.EOF:
		return true
	case b.length < 0:
		return false
	}
	return b.read > b.length || b.err == io.EOF && b.read < b.length
}

// maxMeasured bounds the length of a body that is opened once more to be measured, in bytes.
const maxMeasured = 1 << 20

// HasWrongLength tells whether a body that can be opened again has another length than its request says. It reads one
// byte more than that at most.
func HasWrongLength(req *http.Request) bool {
	if req.GetBody == nil || req.Body == nil || req.Body == http.NoBody ||
		req.ContentLength <= 0 || req.ContentLength > maxMeasured {
		return false
	}
	body, err := req.GetBody()
	if err != nil {
		return false // the repeat will say so
	}
	defer body.Close()
	n, err := io.Copy(io.Discard, io.LimitReader(body, req.ContentLength+1))
	return err == nil && n != req.ContentLength
}

// IsFileError finds the failure of a file that is a request's body.
func IsFileError(req *http.Request, err error) bool {
	var failed *fs.PathError
	_, isFile := req.Body.(*os.File)
	return isFile && errors.As(err, &failed)
}

// IsToken is what RFC 9110 section 5.6.2 allows in the name of a field.
func IsToken(name string) bool {
	for _, c := range []byte(name) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && !('0' <= c && c <= '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return name != ""
}
