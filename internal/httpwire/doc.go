// Package httpwire is one request on the wire: its body, sent again from what is kept of it or watched for its own
// failure, the answer's body, kept while the call is repeated, and what proves that a request never left. It knows
// net/http, and of tether only why a body can't be sent again.
package httpwire
