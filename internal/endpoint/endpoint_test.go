package endpoint

import (
	"hash/maphash"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestNameHasNoSecrets: an event names words only, and not more of them than fit.
func TestNameHasNoSecrets(t *testing.T) {
	for want, e := range map[string]Endpoint{
		"GET /users/*/orders":             {"GET", "/users/4711/orders", ""},
		"GET /":                           {"GET", "/", ""},
		"/shop.Stock/Get":                 {"POST", "/shop.Stock/Get", "/shop.Stock/Get"},
		"PUT /a/b/c/d/e/f/g/h/...":        {"PUT", "/a/b/c/d/e/f/g/h/i/j", ""},
		"GET /reset/*":                    {"GET", "/reset/3f2a90c1d4", ""},
		strings.TrimSpace(" /v2/items/*"): {"", "/v2/items/alice@example.com", ""},
	} {
		if got := e.Name(); got != want {
			t.Errorf("%+v is named %q, want %q", e, got, want)
		}
	}
}

// TestPlaceLeavesOutKeys: two things of one kind are one place; another method or word is another.
func TestPlaceLeavesOutKeys(t *testing.T) {
	seed := maphash.MakeSeed()
	place := func(method, path string) uint64 { return Endpoint{method, path, ""}.Place(seed) }
	if place("GET", "/items/4711") != place("GET", "/items/4712") {
		t.Error("two items are two places")
	}
	if place("GET", "/items/4711") == place("GET", "/orders/4711") || place("GET", "/items/1") == place("PUT", "/items/1") {
		t.Error("another word or method is the same place")
	}
}

// TestWordsInPaths: one rule tells words from what may identify somebody or be a secret, for partitions and for the
// names of loops.
func TestWordsInPaths(t *testing.T) {
	for segment, want := range map[string]bool{
		"items": true, "v2": true, "line-items": true, "information": true, "home_timeline.json": true,
		"ListBuckets": true, "resourceGroups": true, "Microsoft.Compute": true, "downstream": true, "facade": true,
		"": false, "4711": false, "7": false, "3f2a90c1": false, "0b9c7c8e-1d2f-4a7e-9d55-0f5a3e1c2b4d": false,
		"deadbeef": false, "DEADBEEF": false, "aBcDeFgH": false, "eyJhbGciOiJ": false, "AKIAIOSFODNN": false,
		"alice@example.com": false, "alice%40example": false, "xkqzvbnmtr": false, "sk_live_4eC39Hq": false,
		"averyveryverylongsegment": false, "oauth2": false, "m\xfcller": false, "a:b": false, "a=b": false,
	} {
		if isWord(segment) != want {
			t.Errorf("%q: want %v", segment, want)
		}
	}
}
