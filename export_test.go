package tether

import "reflect"

// NothingMoreIsNothing tells whether no call has written to the room that all quiet calls share.
func NothingMoreIsNothing() bool { return reflect.ValueOf(&nothingMore).Elem().IsZero() }
