// Package storetest is where the sources that talk to a store meet the real server, in the same
// process: it starts, stops and starts again where it was. It is a module of its own so that the
// sources' go.mod stay free of servers.
package storetest
