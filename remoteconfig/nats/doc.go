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
// at that of the client library, within seconds. NATS sends watches and answers whole, so a bucket's
// values and the server's max_payload should leave room for 1 MiB and the headers, or documents be smaller.
//
// # Permissions
//
// Publish to "$JS.API.DIRECT.GET.KV_<bucket>.$KV.<bucket>.<key>", subscribe to "$KV.<bucket>.<key>" and
// "_INBOX.>": a client can read its document and nothing else. Not to publish to the key's subject:
// whoever may do that can publish documents.
package nats
