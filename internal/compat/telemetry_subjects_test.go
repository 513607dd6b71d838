package compat_test

import (
	"net/http"
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

var otelOutside = subject{
	name:    "otelhttp outside",
	healthy: answersJSON,
	open: func(t *testing.T, wrapped *http.Client, url string) (read, write call) {
		return plain.open(t, &http.Client{Transport: otelhttp.NewTransport(wrapped.Transport)}, url)
	},
}

var otelInside = subject{
	name:    "otelhttp inside",
	healthy: answersJSON,
	open:    plain.open,
	inner:   func(base http.RoundTripper) http.RoundTripper { return otelhttp.NewTransport(base) },
}
