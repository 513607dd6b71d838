package tether_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
)

// TestReadoptExpired: an expired document is never newly adopted; one that was valid when adopted
// stays in force after a restart too, marked stale.
func TestReadoptExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		expires := time.Now().Add(time.Hour)
		expiring := document(3, `,"expires":"`+expires.Format(time.RFC3339)+`"`)
		tests := []struct {
			name    string
			adopted time.Time
			want    error
		}{
			{"was valid", expires.Add(-time.Minute), nil},
			{"at the last moment", expires, nil},
			{"had expired already", expires.Add(time.Second), tether.ErrExpired},
			{"in the future, so now", expires.Add(1000 * time.Hour), tether.ErrExpired},
		}
		running := engine(t, tether.Options{})
		if _, err := running.Apply(expiring); err != nil || running.Health().Stale {
			t.Fatalf("while valid: %v, stale: %v", err, running.Health().Stale)
		}
		time.Sleep(3 * time.Hour)
		if h := running.Health(); h.Version != 3 || !h.Stale {
			t.Errorf("in force when it expired: version %d, stale: %v", h.Version, h.Stale)
		}
		for _, test := range tests {
			e := engine(t, tether.Options{})
			if _, err := e.Apply(expiring); !errors.Is(err, tether.ErrExpired) {
				t.Errorf("%s: newly adopted: %v", test.name, err)
			}
			_, err := e.Readopt(expiring, test.adopted)
			if h := e.Health(); !errors.Is(err, test.want) || (h.Version == 3) != (test.want == nil) ||
				h.Stale != (test.want == nil) {
				t.Errorf("%s: error %v, version %d, stale: %v", test.name, err, h.Version, h.Stale)
			}
		}
	})
}

// TestReadoptOrder: what Apply refuses for another reason, Readopt refuses too.
func TestReadoptOrder(t *testing.T) {
	e := engine(t, tether.Options{})
	if _, err := e.Apply(document(5, "")); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]error{
		string(document(4, "")):                       tether.ErrOlder,
		string(document(5, `,"label":"x"`)):           tether.ErrSameVersion,
		`{"schema":1,"document":"other","version":9}`: tether.ErrOtherDocument,
		`{"schema":1,"document":"shop"}`:              tether.ErrUnidentified,
		string(document(6, `,"audience":{"a":"b"}`)):  tether.ErrAudience,
		string(document(5, "")):                       nil,
	} {
		if _, err := e.Readopt([]byte(text), time.Time{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
}

// TestKillIsNotRenewed: the compiled cap of a kill counts from when its document was first adopted. A
// program that restarts every ten minutes gets free when one that runs does, to the minute.
func TestKillIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		killing, adopted := document(1, killMember), time.Now()
		for restart := 0; ; restart++ {
			c := client(t, &backend{serve: always(200)}, tether.Options{})
			if _, err := c.Engine().Readopt(killing, adopted); err != nil {
				t.Fatal(err)
			}
			// What a poll brings: the same document.
			if _, err := c.Engine().Apply(killing); err != nil {
				t.Fatal(err)
			}
			_, _, err := get(c, api)
			age := time.Since(adopted)
			if killed := errors.Is(err, tether.ErrKilled); killed != (age < 24*time.Hour) {
				t.Fatalf("restart %d, %v old: %v", restart, age, err)
			}
			if err == nil {
				return
			}
			time.Sleep(10 * time.Minute)
		}
	})
	synctest.Test(t, func(t *testing.T) { // nor does a clock that was wrong make it last longer
		c := client(t, &backend{serve: always(200)}, tether.Options{})
		if _, err := c.Engine().Readopt(document(1, killMember), time.Now().Add(1000*time.Hour)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		if _, _, err := get(c, api); err != nil {
			t.Errorf("after a day: %v", err)
		}
	})
}

// TestRefusedKillIsNotRenewed is the same for the kills of a document that is refused, which is never
// cached: Snapshot remembers since when they are in force.
func TestRefusedKillIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused, began := document(2, `,"defaults":{"call":{"retryPolicy":{"maxAttempts":-1}}}`+killMember), time.Now()
		var snapshot []byte
		for range 30 {
			c := client(t, &backend{serve: always(200)}, tether.Options{})
			if snapshot != nil && c.Engine().Restore(snapshot) != nil {
				t.Fatal("not restored")
			}
			for range 2 {
				if _, err := c.Engine().Apply(refused); err == nil {
					t.Fatal("not refused")
				}
			}
			_, _, err := get(c, api)
			if killed := errors.Is(err, tether.ErrKilled); killed != (time.Since(began) < 24*time.Hour) {
				t.Fatalf("after %v: %v", time.Since(began), err)
			}
			snapshot = c.Engine().Snapshot()
			time.Sleep(time.Hour)
		}
	})
}

// TestExpiryLiftsNoKill: a kill ends at its own time, not with its document.
func TestExpiryLiftsNoKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		killing := document(1, `,"expires":"`+now.Add(time.Hour).Format(time.RFC3339)+`"`+
			strings.Replace(killMember, "2100-01-01T00:00:00Z", now.Add(5*time.Hour).Format(time.RFC3339), 1))
		time.Sleep(4 * time.Hour)
		c := client(t, &backend{serve: always(200)}, tether.Options{})
		if _, err := c.Engine().Readopt(killing, now); err != nil {
			t.Fatal(err)
		}
		if _, _, err := get(c, api); !errors.Is(err, tether.ErrKilled) {
			t.Errorf("three hours after the expiry: %v", err)
		}
		time.Sleep(time.Hour)
		if _, _, err := get(c, api); err != nil {
			t.Errorf("at the kill's own end: %v", err)
		}
	})
}

// TestAudience: a document for others is refused, its kills too.
func TestAudience(t *testing.T) {
	ours := map[string]string{"environment": "production", "service": "shop"}
	tests := []struct {
		name, audience string
		want           error
	}{
		{"absent", ``, nil},
		{"empty", `,"audience":{}`, nil},
		{"part of ours", `,"audience":{"environment":"production"}`, nil},
		{"all of ours", `,"audience":{"service":"shop","environment":"production"}`, nil},
		{"another value", `,"audience":{"environment":"staging"}`, tether.ErrAudience},
		{"one of two", `,"audience":{"environment":"production","service":"x"}`, tether.ErrAudience},
		{"a member that we lack", `,"audience":{"cell":"7"}`, tether.ErrAudience},
		{"a member that we lack, empty", `,"audience":{"cell":""}`, tether.ErrAudience},
		{"other case", `,"audience":{"environment":"Production"}`, tether.ErrAudience},
	}
	for _, test := range tests {
		synctest.Test(t, func(t *testing.T) {
			c := client(t, &backend{serve: always(200)}, tether.Options{Audience: ours})
			_, err := c.Engine().Apply(document(1, test.audience+killMember))
			if !errors.Is(err, test.want) || (test.want == nil) != (err == nil) {
				t.Errorf("%s: %v, want %v", test.name, err, test.want)
			}
			if _, _, err := get(c, api); errors.Is(err, tether.ErrKilled) != (test.want == nil) {
				t.Errorf("%s: a call got %v", test.name, err)
			}
		})
	}
	// Doubt about whom a document is for is no licence to kill.
	for _, audience := range []string{`,"audience":"production"`, `,"audience":{"environment":1}`,
		`,"audience":{"environment":"production"},"audience":{"environment":"staging"}`} {
		c := client(t, &backend{serve: always(200)}, tether.Options{Audience: ours})
		_, err := c.Engine().Apply(document(1, audience+killMember))
		if _, _, called := get(c, api); err == nil || called != nil {
			t.Errorf("%s: applied with %v, a call got %v", audience, err, called)
		}
	}
}

// TestRefusedIsToldOnce: a document that is applied again at every poll is one event, until the reason
// changes or another document was taken.
func TestRefusedIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told, notes int
		e := engine(t, tether.Options{Observe: func(event tether.Event) {
			switch event.Kind {
			case tether.EventNotTaken:
				told++
			case tether.EventNote:
				notes++
			}
		}})
		expires := time.Now().Add(time.Hour).Format(time.RFC3339)
		bad := document(2, `,"expires":"`+expires+`","defaults":{"call":{"retryPolicy":{"maxAttempts":-1}}},"unknown":1`)
		push := func(document []byte, wantTold, wantNotes int) {
			t.Helper()
			told, notes = 0, 0
			if given, err := e.Apply(document); err != nil && len(given) == 0 {
				t.Error("the caller isn't told")
			}
			if told != wantTold || notes != wantNotes {
				t.Errorf("told %d times with %d notes, want %d and %d", told, notes, wantTold, wantNotes)
			}
		}
		push(bad, 1, 1)
		push(bad, 0, 0)
		push(append(bad, ' '), 1, 1)
		push(document(1, ""), 0, 0)
		push(append(bad, ' '), 1, 1)
	})
}

// TestKillsOfManyRefused: documents that are refused again and again, in turn, don't renew
// their kills.
func TestKillsOfManyRefused(t *testing.T) {
	refused := func(version int) []byte {
		return document(version, `,"defaults":{"call":{"retryPolicy":{"maxAttempts":-1}}}`+killMember)
	}
	synctest.Test(t, func(t *testing.T) { // two servers, each with a mistake of its own
		c := client(t, &backend{serve: always(200)}, tether.Options{})
		for began := time.Now(); time.Since(began) < 25*time.Hour; time.Sleep(5 * time.Minute) {
			for version := range 2 {
				if _, err := c.Engine().Apply(refused(version + 1)); err == nil {
					t.Fatal("not refused")
				}
			}
		}
		if _, _, err := get(c, api); err != nil {
			t.Errorf("after 25 h: %v", err)
		}
	})
}
