// Package tethertest rehearses a launch: hundreds to thousands of real clients in virtual time, against
// a model of the backend that they share. A minute of a fleet takes seconds, and the same seed gives the
// same figures.
//
//	func TestOutage(t *testing.T) {
//		report := tethertest.Rehearse(t, tethertest.Rehearsal{
//			Fault: tethertest.Fault{For: 30 * time.Second, Down: true},
//		})
//		if report.Recovery > time.Second {
//			t.Errorf("back %v after the backend was", report.Recovery)
//		}
//	}
//
// # The model
//
// Every client is an open-loop source of calls: it asks whether or not earlier calls were answered.
// Its http.Client is a real one; only the network below it is a model. The backend has a number of
// workers, a distribution of the time that a request occupies one, and one queue, first in first out,
// of bounded length: what finds it full is answered 503 at once, which costs the server nothing. A
// request whose caller has gone is served all the same: wasted work.
//
// The depth of that queue decides what a fault does. Where it is deeper than the caller's timeout, every
// request is served too late: the server works at full capacity for nobody, and goes on so while the
// load does.
package tethertest
