package tether

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tether-go/tether/policy"
)

// hostileDocuments are documents of about 1 MiB, each of which is the worst for one part of what Apply does.
func hostileDocuments() map[string][]byte {
	many := func(n int, entry func(i int) string) string {
		var b strings.Builder
		for i := 0; i < n && b.Len() < policy.MaxDocument-4096; i++ {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(entry(i))
		}
		return b.String()
	}
	all := func(text string) func(int) string { return func(int) string { return text } }
	stages := func(n int, patch func(i int) string) string {
		return `"stages":[` + many(n, func(i int) string {
			return fmt.Sprintf(`{"name":"s%d","percent":100,"patch":{%s}}`, i, patch(i))
		}) + `]`
	}
	flag := `{"state":"ENABLED","variants":{"on":true,"off":false},"defaultVariant":"off"}`
	flagsOf := func(n int) string {
		return `"flags":{"flags":{` + many(n, func(i int) string { return fmt.Sprintf(`"f%d":%s`, i, flag) }) + `}}`
	}
	const mib = 1 << 20
	deep := strings.Repeat(`{"`+strings.Repeat("a", 60)+`":`, 27) + "%s" + strings.Repeat("}", 27)
	bodies := map[string]string{
		"app stages whose flags are too many together": `"flags":{"flags":{` + many(2400, func(i int) string { return fmt.Sprintf(`"f%d":%s`, i, flag) }) + `}},` +
			`"app":{` + many(3000, func(i int) string { return fmt.Sprintf(`"k%d":"%060d"`, i, i) }) + `},` +
			stages(100, func(i int) string {
				patch := fmt.Sprintf(`"app":{"k%d":{"a":[%s]}}`, i, many(700, all("1")))
				if i == 50 || i == 51 {
					patch += fmt.Sprintf(`,"flags":{"flags":{%s}}`, many(1350, func(j int) string { return fmt.Sprintf(`"g%d-%d":%s`, i, j, flag) }))
				}
				return patch
			}),
		"deep app stages": `"app":` + fmt.Sprintf(deep, `"`+strings.Repeat("x", mib/8)+`"`) + "," +
			stages(100, func(i int) string { return `"app":` + fmt.Sprintf(deep, fmt.Sprintf(`{"b%d":"%05000d"}`, i, i)) }),
		"wide app stages": `"app":{` + many(50_000, func(i int) string { return fmt.Sprintf(`"%d":1`, i) }) + `},` +
			stages(100, func(i int) string {
				return fmt.Sprintf(`"app":{%s}`, many(300, func(j int) string { return fmt.Sprintf(`"%d":2`, i*300+j) }))
			}),
		"rules": `"rules":[` + many(1000, func(i int) string {
			return fmt.Sprintf(`{"name":"r%d","match":{"host":"h%d.example.com"},"call":{"timeout":"1s","attemptTimeout":"1s","maxWait":"99999s","criticality":"critical","retryPolicy":{"maxAttempts":9,"initialBackoff":"0.01s","maxBackoff":"0.02s","backoffMultiplier":1,"retryableStatusCodes":[400,401,402,403,404,405,406,407,408]},"hedgingPolicy":{"hedgingDelay":"0.01s"}},"target":{"retryBudget":{"ratio":0.9},"hold":{"max":"1s"},"circuitBreaker":{"consecutiveFailures":99,"failureRatio":0.9,"minCalls":99,"window":"1s","openTime":"0.1s","maxOpenTime":"0.1s","probes":9,"probeLease":"0.1s","mode":"forced-closed"},"pacing":{"mode":"off"},"rateLimit":{"perSecond":9999,"burst":9999},"concurrency":{"max":9999,"mode":"fixed"}}}`, i, i)
		}) + `]`,
		"rules without end": `"rules":[` + many(mib, all(`{}`)) + `]`,
		"unnamed rules":     `"rules":[` + many(1000, all(`{"match":{"path":"/`+strings.Repeat("%2e/", 200)+`"}}`)) + `]`,
		"kills":             `"kill":[` + many(mib, func(i int) string { return fmt.Sprintf(`{"match":{"host":"h%d"},"until":"2999-01-01T00:00:00Z"}`, i) }) + `]`,
		"empty kills":       `"kill":[` + many(33_000, all(`{}`)) + `]`,
		"kills that are unclear": `"kill":[` + many(1000, func(i int) string {
			return fmt.Sprintf(`{"match":{%s},"until":"2999-01-01T00:00:00Z"}`, many(90, func(j int) string { return fmt.Sprintf(`"hos%d":1`, j) }))
		}) + `]`,
		"unknown members": `"rules":[` + many(1000, func(i int) string {
			return `{"match":{},` + many(90, func(j int) string { return fmt.Sprintf(`"mtch%d":1`, j) }) + `}`
		}) + `]`,
		"unknown members with long names": many(mib, func(i int) string { return fmt.Sprintf(`"%060d":1`, i) }),
		"opaque objects":                  `"app":[` + many(mib, all(`{"a":{}}`)) + `]`,
		"opaque escapes":                  `"app":{` + many(mib, func(i int) string { return fmt.Sprintf(`"\u0061%d":1`, i) }) + `}`,
		"opaque angles":                   `"app":"` + strings.Repeat("<", mib-4096) + `"`,
		"app of numbers":                  `"app":[` + strings.Repeat("1,", mib/2-4096) + `1]`,
		"duplicates":                      `"app":{` + many(mib, all(`"a":1`)) + `}`,
		"deep duplicates":                 `"app":` + fmt.Sprintf(deep, "["+many(mib, all(`{"a":1,"a":1}`))+"]"),
		"schedules":                       `"schedules":{` + many(45_000, func(i int) string { return fmt.Sprintf(`"s%d":{}`, i) }) + `}`,
		"schedules of stages": `"schedules":{` + many(30_000, func(i int) string { return fmt.Sprintf(`"s%d":{}`, i) }) + `},` +
			stages(100, func(i int) string { return fmt.Sprintf(`"schedules":{"s%d":{"every":"99s"}}`, i) }),
		"nudge":           `"nudge":[` + many(90_000, all(`"a.example"`)) + `]`,
		"nudge of bad":    `"nudge":[` + many(90_000, all(`"a/b"`)) + `]`,
		"status codes":    `"defaults":{"call":{"retryPolicy":{"retryableStatusCodes":[` + many(99_000, all(`"UNKNOWN"`)) + `]}}}`,
		"bad codes":       `"defaults":{"call":{"retryPolicy":{"retryableStatusCodes":[` + many(99_000, all(`"NONE"`)) + `]}}}`,
		"methods":         `"rules":[{"match":{"method":[` + many(99_000, all(`"get"`)) + `]}}]`,
		"a long number":   `"pollInterval":` + strings.Repeat("9", mib-4096),
		"a long fraction": `"defaults":{"call":{"retryPolicy":{"backoffMultiplier":1.` + strings.Repeat("9", mib-4096) + `}}}`,
		"a long duration": `"pollInterval":"` + strings.Repeat("1h", mib/2-4096) + `"`,
		"a long host":     `"rules":[{"match":{"host":"` + strings.Repeat("A.", mib/2-4096) + `"}}]`,
		"a long path":     `"rules":[{"match":{"path":"` + strings.Repeat("/..%2f", mib/6-4096) + `"}}]`,
		"a long code":     `"defaults":{"call":{"retryPolicy":{"retryableStatusCodes":["` + strings.Repeat("A", mib-4096) + `"]}}}`,
		"cohorts":         `"stages":[{"name":"s","percent":1,"if":{"cohort":{` + many(40_000, func(i int) string { return fmt.Sprintf(`"c%d":["a"]`, i) }) + `}},"patch":{}}]`,
		"unclear cohorts": `"stages":[{"name":"s","percent":1,"if":{"cohort":{` + many(40_000, func(i int) string { return fmt.Sprintf(`"c%d":[]`, i) }) + `}},"patch":{}}]`,
		"rules of stages": stages(100, func(i int) string {
			return `"rules":[` + many(10, func(j int) string {
				return fmt.Sprintf(`{"name":"r%d-%d","match":{"host":"h%d.example.com"},"call":{"timeout":"1s","attemptTimeout":"0.5s","retryPolicy":{"maxAttempts":9}}}`, i, j, i)
			}) + `]`
		}),
		"flags":             flagsOf(5000),
		"flags of stages":   flagsOf(5000) + "," + stages(16, func(i int) string { return fmt.Sprintf(`"flags":{"flags":{"f%d":{"state":"DISABLED"}}}`, i) }),
		"flags of 4 stages": flagsOf(2000) + "," + stages(4, func(i int) string { return fmt.Sprintf(`"flags":{"flags":{"f%d":{"state":"DISABLED"}}}`, i) }),
		"rules of flags": `"flags":{"flags":{` + many(60, func(i int) string {
			return fmt.Sprintf(`"f%d":{"state":"ENABLED","variants":{"on":true},"defaultVariant":"on","targeting":{"if":[%s,"on"]}}`, i, many(300, all(`{"==":[1,{"var":"x"}]},"on"`)))
		}) + `}}`,
		"a rule of flags without end": `"flags":{"flags":{"f":{"state":"ENABLED","variants":{"on":true},"targeting":{"if":[` + many(99_000, all(`"on"`)) + `]}}}}`,
		"a deep rule of flags": `"flags":{"flags":{"f":{"state":"ENABLED","variants":{"on":true},"targeting":` +
			strings.Repeat(`{"if":[`, 12) + many(90_000, all(`"no"`)) + strings.Repeat(`]}`, 12) + `}}}`,
		"references of flags": `"flags":{"$evaluators":{"e":{"or":[` + many(900, all(`{"var":"x"}`)) + `]}},"flags":{` +
			many(5000, func(i int) string {
				return fmt.Sprintf(`"f%d":{"state":"ENABLED","variants":{"on":true},"targeting":{"if":[{"$ref":"e"},"on"]}}`, i)
			}) + `}}`,
		"unknown members of flags": `"flags":{"flags":{"f":{"state":"ENABLED","variants":{"on":true},` + many(90_000, func(i int) string { return fmt.Sprintf(`"stat%d":1`, i) }) + `}}}`,
		"variants":                 `"flags":{"flags":{"f":{"state":"ENABLED","variants":{` + many(90_000, func(i int) string { return fmt.Sprintf(`"v%d":1`, i) }) + `}}}}`,
		"variants of a stage":      `"flags":{"flags":{"f":{"state":"ENABLED","variants":{` + many(80_000, func(i int) string { return fmt.Sprintf(`"v%d":1`, i) }) + `}}}},` + stages(1, all(`"flags":{"flags":{"f":{"state":"DISABLED"}}}`)),
		"guards":                   `"flagSettings":{"guards":{` + many(30_000, func(i int) string { return fmt.Sprintf(`"g%d":{"minCals":1}`, i) }) + `}}`,
		"names of one rule":        `"rules":[` + many(1000, all(`{"name":"`+strings.Repeat("n", 900)+`","match":{}}`)) + `]`,
		"values without end":       `"rules":[` + many(mib, all(`[[]]`)) + `]`,
		"wrong values":             `"rules":[` + many(900, func(i int) string { return `{"match":{},"call":{` + many(90, all(`"timeout":1`)) + `}}` }) + `]`,
		"wrong times":              `"schedules":{` + many(45_000, func(i int) string { return fmt.Sprintf(`"s%d":1`, i) }) + `}`,
	}
	documents := make(map[string][]byte, len(bodies))
	for name, body := range bodies {
		documents[name] = []byte(`{"schema":1,"document":"shop","version":1,` + body + `}`)
	}
	return documents
}

// BenchmarkApplyHostile is what Apply takes at worst. The aim is 250 ms of CPU; see docs/decisions.md for what takes more.
func BenchmarkApplyHostile(b *testing.B) {
	for name, document := range hostileDocuments() {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				e, err := New(Options{Seed: 1})
				if err != nil {
					b.Fatal(err)
				}
				_, _ = e.Apply(document)
			}
		})
	}
}

// plainDocument is what a publisher with many rules might have: 64 KiB of rules, flags, schedules and settings.
func plainDocument() []byte {
	var rules, flags, app []string
	for i := range 130 {
		rules = append(rules, fmt.Sprintf(`{"name":"rule-%d","match":{"host":"api%d.example.com","path":"/v1/search","method":["GET"]},
			"call":{"timeout":"10s","attemptTimeout":"2s","retryPolicy":{"maxAttempts":2,"retryableStatusCodes":[429,503]},"criticality":"default"}}`, i, i))
		flags = append(flags, fmt.Sprintf(`"flag-%d":{"state":"ENABLED","variants":{"on":true,"off":false},"defaultVariant":"off",
			"targeting":{"if":[{"==":[{"var":"plan"},"gold"]},"on",{"fractional":[["on",10],["off",90]]}]}}`, i))
		app = append(app, fmt.Sprintf(`"setting-%d":{"text":"a text of usual length","number":%d,"list":[1,2,3]}`, i, i))
	}
	return []byte(`{"schema":1,"document":"shop","version":1,"rules":[` + strings.Join(rules, ",\n") +
		`],"flags":{"flags":{` + strings.Join(flags, ",\n") + `}},"app":{` + strings.Join(app, ",\n") + `},
		"stages":[{"name":"s","percent":100,"patch":{"defaults":{"call":{"timeout":"5s"}},"app":{"setting-1":{"number":2}}}}]}`)
}

func applied(tb testing.TB, document []byte) error {
	tb.Helper()
	e, err := New(Options{Seed: 1})
	if err != nil {
		tb.Fatal(err)
	}
	_, err = e.Apply(document)
	return err
}

func BenchmarkApply64KiB(b *testing.B) {
	document := plainDocument()
	b.Log(len(document))
	b.ReportAllocs()
	for b.Loop() {
		if err := applied(b, document); err != nil {
			b.Fatal(err)
		}
	}
}
