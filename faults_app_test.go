package tether_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
)

// The application's check is its own code: it may take its time, and ask for the settings itself. Nobody else
// waits for it.
func TestAppCheckKeepsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, err := tether.New(tether.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var app *tether.App[shopSettings]
		app, err = tether.NewApp(engine, shopSettings{Theme: "plain"}, func(s shopSettings) error {
			if app != nil {
				time.Sleep(time.Minute)
				if got := app.Get(); got.Theme != "plain" {
					t.Errorf("while they are checked: %+v", got)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := engine.Apply(appDocument(1, `{"theme": "winter"}`)); err != nil {
			t.Fatal(err)
		}
		go app.Get()
		synctest.Wait()
		began := time.Now()
		if got := app.Get(); got.Theme != "plain" || time.Since(began) > 0 {
			t.Errorf("%+v after %v", got, time.Since(began))
		}
		time.Sleep(2 * time.Minute)
		if got := app.Get(); got.Theme != "winter" {
			t.Errorf("once they are checked: %+v", got)
		}
	})
}
