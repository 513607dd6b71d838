package remoteconfig_test

import (
	"slices"
	"testing"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/remoteconfig"
)

// TestStagesAreSticky: with a cache, a client is the same to stages in its next process, before any poll.
func TestStagesAreSticky(t *testing.T) {
	same, ones := 0, 0
	for range 20 {
		source := &publisher{}
		source.publish(with(1, `, "stages": [{"name": "s", "percent": 50, "patch": {}}]`))
		dir, was := t.TempDir(), []string(nil)
		for life := range 2 {
			engine, err := tether.New(tether.Options{})
			if err != nil {
				t.Fatal(err)
			}
			w, err := remoteconfig.New(source, engine, remoteconfig.Options{CacheDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if life == 0 {
				err = w.FetchOnce(t.Context())
			} else {
				err = w.Load(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			if now := engine.Health().Stages; life == 0 {
				was = now
			} else if slices.Equal(now, was) {
				same++
			}
		}
		ones += len(was)
	}
	if same != 20 || ones == 0 || ones == 20 {
		t.Errorf("%d of 20 are the same, %d have the stage", same, ones)
	}
}
