// Package runtimevar has the document lie wherever gocloud.dev/runtimevar has a driver: in a bucket of
// a cloud, a secret or parameter store, a file.
//
//	import _ "gocloud.dev/runtimevar/awsparamstore" // the driver
//
//	source := runtimevar.Source{URL: "awsparamstore://shop-app?region=eu-west-1&decoder=bytes"}
//	watcher, err := remoteconfig.New(source, client.Engine(), remoteconfig.Options{CacheDir: dir})
//	if err != nil {
//		return err
//	}
//	go watcher.Run(ctx) // until ctx ends
//
// A variable is open for as long as one Fetch or one Watch takes. One that stays open goes on reading
// in the background, most drivers every 30 s and all clients in step after a push or a restart, and
// has its last good value for an answer while the store is away.
//
// Use [Source] with drivers that poll, which nearly all do, and [Watched] with the few that are told
// of changes: filevar, and those of stores with a watch of their own.
//
// Most drivers read a value whole before anybody can see how large it is. For a document on a web
// server use remoteconfig.HTTP: httpvar knows neither If-None-Match nor a limit.
package runtimevar
