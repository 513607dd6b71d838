// Package etcd has the document lie under a key of etcd.
//
//	source := etcd.Source{
//		Config: clientv3.Config{Endpoints: []string{"https://etcd.example.com:2379"}},
//		Key:    "/tether/shop-app",
//	}
//	watcher, err := remoteconfig.New(source, client.Engine(), remoteconfig.Options{CacheDir: dir})
//	if err != nil {
//		return err
//	}
//	go watcher.Run(ctx) // until ctx ends
//
// # What it costs the store
//
//	a poll    a connection, and one linearizable read of the key: a member that lost the others
//	          answers with an error, never with an old document
//	a watch   a connection with one stream, and a ping on it every 5 minutes
//	a push    the document to each watch, and once more to each fetch
//
// A connection belongs to one Fetch or one Watch and never outlives it, and a Fetch asks once: when
// etcd restarts, its clients come back at the pace of the watcher, at random over an interval, not
// at that of the client library, within a second. etcd is made for thousands of clients; for
// more, put an HTTP server in front of it.
//
// # Permissions
//
// A role that may read this one key: "etcdctl role grant-permission shop read /tether/shop-app".
// Prefer client certificates: etcd checks a password slowly on purpose, and each connection asks
// it to.
package etcd
