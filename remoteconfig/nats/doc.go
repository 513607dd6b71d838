// Package nats has the document lie in a key-value bucket of NATS JetStream.
//
//	source := nats.Source{URL: "tls://nats.example.com", Bucket: "config", Key: "shop-app"}
//	watcher, err := remoteconfig.New(source, client.Engine(), remoteconfig.Options{CacheDir: dir})
//	if err != nil {
//		return err
//	}
//	go watcher.Run(ctx) // until ctx ends
//
// # What it costs the server
//
//	a poll    a connection, and one direct get, which any replica of the bucket answers, with the
//	          document, changed or not
//	a watch   a connection and a plain subscription to the key's subject, no consumer: a million
//	          consumers would be state that the server keeps
//	a push    the document to each watch, and once more to each fetch
//
// A connection belongs to one Fetch or one Watch, and never connects again by itself: when a server
// restarts, its clients come back at the pace of the watcher, at random over an interval, not
// at that of the client library, within seconds. NATS sends a value whole, with headers: for a document of
// 1 MiB the server's max_payload must be more than that.
//
// # Permissions
//
// Publish to "$JS.API.DIRECT.GET.KV_<bucket>.$KV.<bucket>.<key>"; subscribe to "$KV.<bucket>.<key>"
// and "_INBOX.>", or to an inbox prefix of each client's own where one must not read what
// another gets. Whoever may publish to the key's subject can publish documents.
package nats
