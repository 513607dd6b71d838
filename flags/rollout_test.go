package flags

import (
	"fmt"
	"math"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func sumOf(parts ...string) uint32 {
	var m murmur
	for _, part := range parts {
		m.write(part)
	}
	return m.sum()
}

// TestMurmur compares with the anchors of flagd and with values of the reference implementation, however
// the input is cut.
func TestMurmur(t *testing.T) {
	for text, want := range map[string]uint32{
		"": 0, "ejOoVL": 0, "bY9fO-": 1, "SI7p-": math.MaxInt32, "6LvT0": 1 << 31, "ceQdGm": math.MaxUint32,
		"test": 0xba6bd213, "Hello, world!": 0xc0363e43, "The quick brown fox jumps over the lazy dog": 0x2e4ff723,
	} {
		if got := sumOf(text); got != want {
			t.Errorf("%q hashes to %#x, want %#x", text, got, want)
		}
		for i := range len(text) {
			for j := i; j < len(text); j++ {
				if got := sumOf(text[:i], text[i:j], text[j:]); got != want {
					t.Errorf("%q cut at %d and %d hashes to %#x, want %#x", text, i, j, got, want)
				}
			}
		}
	}
}

// rolloutOf is a flag with one fractional rule.
func rolloutOf(t testing.TB, key, rule string, bucketing int) *Set {
	t.Helper()
	return mustLoad(t, `{"flags": {"`+key+`": {"state": "ENABLED", "variants": {"lower": "lower",
		"upper": "upper", "heads": "heads", "tails": "tails", "on": "on", "off": "off", "none": "none"}, "defaultVariant": "none",
		"targeting": {"fractional": `+rule+`}}}}`, LoadOptions{Lenient: true, Bucketing: bucketing})
}

func TestFractionalVectors(t *testing.T) {
	const halves = `[{"var": "seed"}, ["lower", 50], ["upper", 50]]`
	const shorthand = `[["heads"], ["tails", 1]]`
	none := Attributes{TargetingKey: "ceQdGm"}
	for _, test := range []struct {
		rule       string
		attributes Attributes
		v2, v3     string
	}{
		{halves, Attributes{"seed": "ejOoVL"}, "lower", ""},
		{halves, Attributes{"seed": "bY9fO-"}, "lower", ""},
		{halves, Attributes{"seed": "SI7p-"}, "lower", ""},
		{halves, Attributes{"seed": "6LvT0"}, "upper", ""},
		{halves, Attributes{"seed": "ceQdGm"}, "upper", ""},
		{halves, Attributes{"seed": nil}, "none", "none"},
		{halves, Attributes{"seed": 1}, "none", ""},
		{halves, Attributes{"seed": []any{"ejOoVL"}}, "none", "none"},
		{shorthand, Attributes{TargetingKey: "jon@company.com"}, "heads", "tails"},
		{shorthand, Attributes{TargetingKey: "jane@company.com"}, "tails", ""},
		{shorthand, Attributes{TargetingKey: "user-1"}, "", "heads"},
		{shorthand, Attributes{TargetingKey: "user-2"}, "", "tails"},
		{shorthand, Attributes{TargetingKey: "user-3"}, "", "heads"},
		{shorthand, nil, "none", "none"},
		{shorthand, Attributes{TargetingKey: 5}, "none", "none"},
		{shorthand, Attributes{TargetingKey: ""}, "none", ""},
		{`[["on"]]`, none, "on", "on"},
		{`[["on", null]]`, none, "on", "on"},
		{`[["on", 1.5]]`, none, "none", "none"},
		{`[["on", "1"]]`, none, "none", "none"},
		{`[["on", 2147483647]]`, none, "on", "on"},
		{`[["on", 2147483648]]`, none, "none", "none"},
		{`[["on", 2147483647], ["off", 1]]`, none, "none", "none"},
		{`[["off", -5], ["on", 1]]`, none, "on", "on"},
		{`[["on", 0]]`, none, "none", "none"},
		{`[]`, none, "none", "none"}, {`[{"var": "seed"}]`, none, "none", "none"}, {`[["on", 1, 1]]`, none, "on", "on"},
		{`[["on", 1], "off"]`, none, "none", "none"}, {`[["on", 1], []]`, none, "none", "none"},
		{`[["on", {"var": "w"}]]`, Attributes{TargetingKey: "a", "w": 1.5}, "none", "none"},
		{`[["on", {"var": "w"}]]`, Attributes{TargetingKey: "a", "w": 0}, "none", "none"},
		{`[["on", {"var": "w"}]]`, Attributes{TargetingKey: "a", "w": math.NaN()}, "none", "none"},
		{`[["on", {"var": "w"}], ["off", {"var": "w"}]]`, Attributes{TargetingKey: "a", "w": 2147483647}, "none", "none"},
		{`[["on", {"var": "w"}]]`, Attributes{TargetingKey: "a", "w": 2147483647}, "on", "on"},
		{`[[{"if": [true, "on"]}, 1]]`, none, "on", "on"},
		{`[[null, 1]]`, none, "none", "none"},
	} {
		for bucketing, want := range map[int]string{2: test.v2, 3: test.v3} {
			set := rolloutOf(t, "fractional-flag-shorthand", test.rule, bucketing)
			if got := set.String(test.attributes, "fractional-flag-shorthand", "error"); want != "" && got != want {
				t.Errorf("version %d of %s for %v: %s, want %s", bucketing, test.rule, test.attributes, got, want)
			}
		}
	}
}

// TestSeedsAreHashedWithoutJoining: a cat is hashed part by part.
func TestSeedsAreHashedWithoutJoining(t *testing.T) {
	joined := rolloutOf(t, "f", `[{"var": "joined"}, ["lower", 50], ["upper", 50]]`, 2)
	parts := rolloutOf(t, "f", `[{"cat": [{"var": "a"}, "-", {"var": "n"}, true]}, ["lower", 50], ["upper", 50]]`, 2)
	listed := rolloutOf(t, "f", `[{"cat": {"var": "parts"}}, ["lower", 50], ["upper", 50]]`, 2)
	def := rolloutOf(t, "f", `[["lower", 50], ["upper", 50]]`, 2)
	for i := range 1000 {
		a := strconv.Itoa(i * i * i)
		both := Attributes{"a": a, "n": float64(i) / 4, "joined": fmt.Sprint(a, "-", float64(i)/4, "true"),
			"parts": []any{a, "-", float64(i) / 4, true}}
		if want := joined.String(both, "f", ""); want != parts.String(both, "f", "") || want != listed.String(both, "f", "") {
			t.Fatalf("%v", both)
		}
		both[TargetingKey], both["joined"] = a, "f"+a
		if joined.String(both, "f", "") != def.String(both, "f", "") {
			t.Fatalf("default key of %v", both)
		}
	}
}

// TestCBOR has the examples of RFC 8949, appendix A, which deterministic encoding keeps.
func TestCBOR(t *testing.T) {
	for _, test := range []struct {
		v    any
		want string
	}{
		{0, "00"}, {math.Copysign(0, -1), "00"}, {1.0, "01"}, {23, "17"}, {24, "1818"}, {100, "1864"}, {1000, "1903e8"}, {1000000, "1a000f4240"},
		{1e12, "1b000000e8d4a51000"}, {-1, "20"}, {-100, "3863"}, {-1000, "3903e7"}, {math.Ldexp(-1, 63), "3b7fffffffffffffff"},
		{math.Ldexp(1, 63), "1b8000000000000000"}, {1.1, "fb3ff199999999999a"}, {1.5, "f93e00"}, {3.4028234663852886e+38, "fa7f7fffff"},
		{1e300, "fb7e37e43c8800759c"}, {5.960464477539063e-8, "f90001"}, {0.00006103515625, "f90400"}, {-4.1, "fbc010666666666666"},
		{0.5, "f93800"}, {math.Inf(1), "f97c00"}, {math.Inf(-1), "f9fc00"}, {math.NaN(), "f97e00"}, {0.1, "fb3fb999999999999a"}, {float64(float32(0.1)), "fa3dcccccd"},
		{false, "f4"}, {true, "f5"}, {nil, "f6"}, {"", "60"}, {"a", "6161"}, {"IETF", "6449455446"}, {"ü", "62c3bc"},
		{[]any{}, "80"}, {[]any{1, []any{2, 3}}, "8201820203"}, {map[string]any{}, "a0"},
		{map[string]any{"b": []any{2, 3}, "a": 1}, "a26161016162820203"}, {map[string]any{"aa": 1, "b": 2}, "a261620262616101"},
	} {
		e := evaluation{steps: maxSteps}
		got, ok := e.appendCBOR(nil, toValue(test.v), 0)
		if fmt.Sprintf("%x", got) != test.want || !ok {
			t.Errorf("%v is %x, want %s", test.v, got, test.want)
		}
	}
}

// TestRequirement2GroupsGrow: every step of a rollout keeps whom the one before had, and the ratio, not the
// total, decides.
func TestRequirement2GroupsGrow(t *testing.T) {
	const keys = 100_000
	for bucketing := 2; bucketing <= 3; bucketing++ {
		had := make([]bool, keys)
		for _, percent := range []int{1, 5, 10, 25, 50, 100} {
			step := rolloutOf(t, "f", fmt.Sprintf(`[["on", %d], ["off", %d]]`, percent, 100-percent), bucketing)
			scaled := rolloutOf(t, "f", fmt.Sprintf(`[["on", %d], ["off", %d]]`, percent*100, (100-percent)*100), bucketing)
			on := 0
			for i := range keys {
				who := Attributes{TargetingKey: "user-" + strconv.Itoa(i)}
				has := step.String(who, "f", "") == "on"
				if had[i] && !has {
					t.Fatalf("user %d lost the feature at %d %%", i, percent)
				}
				if has != (scaled.String(who, "f", "") == "on") {
					t.Fatalf("user %d changed sides with the total at %d %%", i, percent)
				}
				if had[i] = has; has {
					on++
				}
			}
			if share := float64(on) * 100 / keys; math.Abs(share-float64(percent)) > 0.5 {
				t.Errorf("%v %% have it at %d %%", share, percent)
			}
		}
	}
}

// TestComputedWeights put everybody where the same constant ones do, with more buckets than fit on the stack, too.
func TestComputedWeights(t *testing.T) {
	for _, buckets := range []int{2, 40} {
		rules := [2]string{`["none", 0]`, `["none", 0]`}
		for i := range buckets {
			name := []string{"on", "off"}[i%2]
			rules[0] += fmt.Sprintf(`, ["%s", %d]`, name, i+7)
			rules[1] += fmt.Sprintf(`, ["%s", {"+": [{"var": "seven"}, %d]}]`, name, i)
		}
		constant := rolloutOf(t, "f", "["+rules[0]+"]", 2)
		computed := rolloutOf(t, "f", "["+rules[1]+"]", 2)
		for i := range 2000 {
			who := Attributes{TargetingKey: strconv.Itoa(i), "seven": 7}
			if a, b := constant.String(who, "f", ""), computed.String(who, "f", ""); a != b || a == "none" {
				t.Fatalf("%d buckets: %s and %s for user %d", buckets, a, b, i)
			}
		}
	}
}

// TestRequirement1FlagsAreIndependent: who has one of two halves tells nothing about the other.
func TestRequirement1FlagsAreIndependent(t *testing.T) {
	const keys, rule = 100_000, `[["on", 50], ["off", 50]]`
	a, b := rolloutOf(t, "a", rule, 2), rolloutOf(t, "b", rule, 2)
	both := 0
	for i := range keys {
		who := Attributes{TargetingKey: "user-" + strconv.Itoa(i)}
		if a.String(who, "a", "") == "on" && b.String(who, "b", "") == "on" {
			both++
		}
	}
	if both < keys*24/100 || both > keys*26/100 {
		t.Errorf("%d of %d have both, want a quarter", both, keys)
	}
}

// TestRequirement3KeysAreChosen: what a rollout is by is the rule's choice, with a fallback.
func TestRequirement3KeysAreChosen(t *testing.T) {
	set := rolloutOf(t, "f", `[{"cat": [{"var": "$flagd.flagKey"}, {"var": ["zone", "nowhere"]}]}, ["on", 50], ["off", 50]]`, 2)
	sides := map[string]bool{}
	for zone := range 20 {
		side := ""
		for user := range 20 {
			got := set.String(Attributes{"zone": strconv.Itoa(zone), TargetingKey: strconv.Itoa(user)}, "f", "")
			if side != "" && side != got {
				t.Fatalf("zone %d is on both sides", zone)
			}
			side = got
		}
		sides[side] = true
	}
	if len(sides) != 2 || set.String(nil, "f", "") == "none" {
		t.Errorf("sides %v", sides)
	}
}

const ramp = `[["on", {"-": [{"var": "$flagd.timestamp"}, 946684800]}], ["off", {"-": [946688400, {"var": "$flagd.timestamp"}]}]]`

// TestRampByTime: an hour from nobody to everybody, from 2000-01-01T00:00:00Z, where the bubble's clock
// begins. A clock that is wrong by a minute moves the share by a sixtieth and no more.
func TestRampByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys = 20_000
		set := rolloutOf(t, "f", ramp, 2)
		count := func() (on int) {
			for i := range keys {
				if set.String(Attributes{TargetingKey: "user-" + strconv.Itoa(i)}, "f", "") == "on" {
					on++
				}
			}
			return on
		}
		before := 0
		for minute := range 62 {
			on := count()
			share := float64(on) / keys
			if want := min(float64(minute)/60, 1); on < before || math.Abs(share-want) > 0.01 {
				t.Errorf("minute %d: share %v, want %v; %d before", minute, share, want, before)
			}
			if minute > 0 && on-before > keys/60+keys/200 {
				t.Errorf("minute %d: %d more", minute, on-before)
			}
			before = on
			time.Sleep(time.Minute)
		}
	})
}

// TestRampInSteps: the documented form of a rollout in steps.
func TestRampInSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := rolloutOf(t, "f", `[["on", {"if": [{"<": [{"var": "$flagd.timestamp"}, 946688400]}, 10, 50]}],
			["off", {"if": [{"<": [{"var": "$flagd.timestamp"}, 946688400]}, 90, 50]}]]`, 2)
		for _, want := range []float64{0.1, 0.5} {
			on := 0
			for i := range 20_000 {
				if set.String(Attributes{TargetingKey: "user-" + strconv.Itoa(i)}, "f", "") == "on" {
					on++
				}
			}
			if share := float64(on) / 20_000; math.Abs(share-want) > 0.01 {
				t.Errorf("share %v, want %v", share, want)
			}
			time.Sleep(time.Hour)
		}
	})
}
