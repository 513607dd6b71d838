package tether_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

// checkoutFlag is on for so many of a hundred; its other variants are for routes by name.
func checkoutFlag(percent int) string {
	return fmt.Sprintf(`"flags":{"flags":{"checkout":{"state":"ENABLED","variants":{"on":true,"off":false,"eu":false},
		"defaultVariant":"off","targeting":{"fractional":[["on",%d],["off",%d]]}}}}`, percent, 100-percent)
}

func routeRule(route string) string {
	return `"rules":[{"name":"r","match":{"host":"api.example"},"call":{"maxWait":"5s","route":` + route + `}}]`
}

const toV2 = `{"flag":"checkout","to":{"on":"https://v2.example"}}`

func routing(bounds ...policy.RouteBound) policy.Bounds { return policy.Bounds{Routes: bounds} }

// TestRouteDocuments: what a document may say of a route, and what becomes of it.
func TestRouteDocuments(t *testing.T) {
	v2 := routing(policy.RouteBound{Origin: "https://V2.example:443/"})
	for _, test := range []struct {
		name, members string
		bounds        policy.Bounds
		refused       string // a problem
		notes         string // the first note's beginning, and "" for none
		routed        bool
	}{
		{"within the bounds", routeRule(toV2) + "," + checkoutFlag(100), v2, "", "", true},
		{"no bounds", routeRule(toV2) + "," + checkoutFlag(100), policy.Bounds{}, "",
			"rules[0].call.route.to.on: asked https://v2.example, given no route", false},
		{"another port", routeRule(strings.ReplaceAll(toV2, "v2.example", "v2.example:444")) + "," + checkoutFlag(100), v2, "",
			"rules[0].call.route.to.on: asked https://v2.example:444, given no route", false},
		{"another scheme", routeRule(strings.ReplaceAll(toV2, "https", "http")) + "," + checkoutFlag(100), v2, "",
			"rules[0].call.route.to.on: asked http://v2.example, given no route", false},
		{"a variant that goes nowhere", routeRule(`{"flag":"checkout","to":{"eu":"https://v2.example"}}`) + "," + checkoutFlag(100),
			v2, "", "", false},
		{"an unknown variant", routeRule(`{"flag":"checkout","to":{"on":"https://v2.example","On":"https://v2.example"}}`) + "," +
			checkoutFlag(100), v2, "", "rules[0].call.route.to.On: is no variant of the flag: skipped", false},
		{"an unknown flag", routeRule(strings.ReplaceAll(toV2, "checkout", "chekout")) + "," + checkoutFlag(100), v2, "",
			"rules[0].call.route.flag: is none of the document's flags: skipped", false},
		{"no flags at all", routeRule(toV2), v2, "", "", false},
		{"nothing to route", routeRule(`{"flag":"checkout","to":{}}`) + "," + checkoutFlag(100), v2, "", "", false},
		{"taken back by a later rule", `"rules":[{"match":{},"call":{"route":` + toV2 +
			`}},{"match":{},"call":{"route":{"flag":"checkout","to":{}}}}],` + checkoutFlag(100), v2, "", "", false},
		{"defaults", `"defaults":{"call":{"route":` + toV2 + `}},` + checkoutFlag(100), v2, "", "", true},
		{"defaults with an unknown flag", `"defaults":{"call":{"route":{"flag":"x","to":{"on":"https://v2.example"}}}},` +
			checkoutFlag(100), v2, "", "defaults.call.route.flag: is none of the document's flags: skipped", false},
		{"a stage", `"stages":[{"name":"s","percent":100,"patch":{` + routeRule(toV2) + `}}],` + checkoutFlag(100), v2, "", "", true},
		{"a stage with an unknown variant", `"stages":[{"name":"s","percent":100,"patch":{` +
			routeRule(strings.ReplaceAll(toV2, `"on"`, `"up"`)) + `}}],` + checkoutFlag(100), v2, "",
			"stages[0].patch.rules[0].call.route.to.up: is no variant of the flag: the stage is skipped", false},
		{"no flag", routeRule(`{"to":{"on":"https://v2.example"}}`) + "," + checkoutFlag(100), v2,
			"rules[0].call.route.flag: is missing", "", false},
		{"a path", routeRule(strings.ReplaceAll(toV2, ".example", ".example/v2")), v2, "rules[0].call.route.to.on: is not an origin", "", false},
		{"credentials", routeRule(strings.ReplaceAll(toV2, "v2", "u:p@v2")), v2, "rules[0].call.route.to.on: is not an origin", "", false},
		{"a query", routeRule(strings.ReplaceAll(toV2, ".example", ".example?x")), v2, "rules[0].call.route.to.on: is not an origin", "", false},
		{"a bad port", routeRule(strings.ReplaceAll(toV2, ".example", ".example:0")), v2, "rules[0].call.route.to.on: is not an origin", "", false},
		{"another kind of URL", routeRule(strings.ReplaceAll(toV2, "https", "ftp")), v2, "rules[0].call.route.to.on: is not an origin", "", false},
		{"a host alone", routeRule(strings.ReplaceAll(toV2, "https://", "")), v2, "rules[0].call.route.to.on: is not an origin", "", false},
		{"a list", routeRule(`{"flag":"checkout","to":["https://v2.example"]}`), v2, "rules[0].call.route.to: is", "", false},
	} {
		e, err := tether.New(tether.Options{Seed: 1, Bounds: test.bounds})
		if err != nil {
			t.Fatal(err)
		}
		notes, err := e.Apply(document(1, ","+test.members))
		var refused *policy.Error
		switch {
		case test.refused != "":
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), test.refused) {
				t.Errorf("%s: error %v, want %q", test.name, err, test.refused)
			}
			continue
		case err != nil:
			t.Errorf("%s: %v", test.name, err)
			continue
		case test.notes == "" && len(notes) > 0, test.notes != "" && (len(notes) == 0 || !strings.HasPrefix(notes[0], test.notes)):
			t.Errorf("%s: notes %q, want %q", test.name, notes, test.notes)
		}
		w := newTwo()
		resp, err := e.Client(w.client()).Get("https://api.example/pay")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if routed := w.next.attempts() == 1; routed != test.routed || w.old.attempts()+w.next.attempts() != 1 {
			t.Errorf("%s: routed is %v, want %v", test.name, routed, test.routed)
		}
	}
}

// TestRouteBounds: impossible bounds are told at once.
func TestRouteBounds(t *testing.T) {
	for _, text := range []string{"", "v2.example", "https://", "https://v2.example/x", "https://*.example", "https://v2.example:70000"} {
		_, err := tether.New(tether.Options{Bounds: routing(policy.RouteBound{Origin: text})})
		if text != "https://*.example" && (err == nil || !strings.Contains(err.Error(), "Bounds.Routes[0].Origin: is not an origin")) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestRoutesNeverLeaveTLS: nor does a call that is for the other server already go through its own route.
func TestRoutesNeverLeaveTLS(t *testing.T) {
	for _, test := range []struct {
		url, to string
		routed  bool
	}{
		{"https://api.example", "http://v2.example", false},
		{"http://api.example", "http://v2.example", true},
		{"http://api.example", "https://v2.example", true},
		{"https://api.example", "https://api.example", false},
	} {
		e, err := tether.New(tether.Options{Seed: 1, Bounds: routing(policy.RouteBound{Origin: test.to})})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Apply(document(1, ","+routeRule(strings.ReplaceAll(toV2, "https://v2.example", test.to))+","+checkoutFlag(100))); err != nil {
			t.Fatal(err)
		}
		w := newTwo()
		req, err := http.NewRequest(http.MethodGet, test.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "kept where it was meant for")
		var told string
		w.old.serve = func(req *http.Request, _ int) (*http.Response, error) {
			told = req.Header.Get("Authorization")
			return answer(req, 200), nil
		}
		resp, err := e.Client(w.client()).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if (told == "") != test.routed {
			t.Errorf("%s to %s: Authorization is %q", test.url, test.to, told)
		}
		if routed := w.next.attempts() == 1; routed != test.routed {
			t.Errorf("%s to %s: routed is %v", test.url, test.to, routed)
		}
	}
}
