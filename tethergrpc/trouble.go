package tethergrpc

import (
	"slices"
	"strings"
	"syscall"
)

// What grpc-go says of an attempt that found no way out of this machine begins so. TestOwnTrouble has real channels
// say it; a text that changed costs no more than that calls are paced as for a server that is down.
const (
	unresolved = "name resolver error: "        // of all but a channel's first resolution, and of no address
	unlooked   = "dns: A record lookup error: " // of the first, AAAA included
	childless  = "no children to pick from"     // of no address, under round_robin and its like
	undialed   = `connection error: desc = "transport: Error while dialing: dial `
)

// ownErrors are those of a dial that say nothing about the server, as for HTTP.
var ownErrors = []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENETUNREACH, syscall.ENETDOWN,
	syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM}

// isOwnTrouble tells by a status's text that a name can't be resolved, or that there is no network or nothing left
// of this machine's own: grpc-go flattens the error to its text, and gives nothing else.
func isOwnTrouble(text string) bool {
	if strings.HasPrefix(text, unresolved) || strings.HasPrefix(text, unlooked) || text == childless {
		return true
	}
	dial, is := strings.CutPrefix(strings.TrimSuffix(text, `"`), undialed)
	if !is {
		return false
	}
	_, why, _ := strings.Cut(dial, ": ") // what comes before is the network and the address
	return strings.HasPrefix(why, "lookup ") || slices.ContainsFunc(ownErrors, func(err syscall.Errno) bool {
		return strings.HasSuffix(why, ": "+err.Error())
	})
}
