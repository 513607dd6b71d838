package main

import (
	"fmt"
	"testing"
)

func contenders(t *testing.T) []flagContender {
	t.Helper()
	all, stop, err := flagContenders()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if len(all) != 5 || all[0].name != "tether" {
		t.Fatalf("%d contenders, want tether first of 5", len(all))
	}
	return all
}

// TestContendersAgree: figures of contenders that answer differently would mean nothing.
func TestContendersAgree(t *testing.T) {
	for _, c := range contenders(t) {
		for _, plan := range []string{"pro", "free"} {
			u := user{key: "user-1", plan: plan, country: "SE"}
			pro := plan == "pro"
			for flag, want := range map[string]bool{"static": true, "targeted": pro} {
				ask := c.yes(flag, u)
				if ask == nil {
					if flag != "static" || c.name != "jsonlogic" {
						t.Errorf("%s can't be asked for %s", c.name, flag)
					}
					continue
				}
				for range 2 { // a benchmark asks more than once
					if got := ask(); got != want {
						t.Errorf("%s, %s, %s: %v", c.name, flag, plan, got)
					}
				}
			}
			if got := c.anew("targeted", u)(); got != pro {
				t.Errorf("%s, context made anew, %s: %v", c.name, plan, got)
			}
			want := map[bool]string{true: "#00f", false: "#888"}[pro]
			if got := c.text("text", u)(); got != want {
				t.Errorf("%s, text, %s: %q, want %q", c.name, plan, got, want)
			}
		}
	}
}

// TestShares: each hashes as it does, so they can't agree user by user, but on the share they must.
// Five standard deviations of 10,000 keys are 150.
func TestShares(t *testing.T) {
	const keys = 10_000
	for _, c := range contenders(t) {
		rollout, both, neither := 0, 0, 0
		for i := range keys {
			u := user{key: fmt.Sprint("user-", i), plan: "pro", country: "SE"}
			if c.yes("rollout", u)() {
				rollout++
			}
			if c.yes("both", u)() {
				both++
			}
			u.plan = "free"
			if c.yes("both", u)() {
				neither++
			}
		}
		if rollout < 850 || rollout > 1150 || both < 850 || both > 1150 || neither != 0 {
			t.Errorf("%s: %d of %d have the rollout, %d it and the condition, %d it alone; want 1,000, 1,000 and 0",
				c.name, rollout, keys, both, neither)
		}
	}
}

// TestEvaluationsAllocateNothing: each question of the table, asked of tether's own store, but for the one
// that makes a map.
func TestEvaluationsAllocateNothing(t *testing.T) {
	ours := contenders(t)[0]
	for _, flag := range []string{"static", "targeted", "rollout", "both"} {
		ask := ours.yes(flag, asked)
		if n := testing.AllocsPerRun(1000, func() { ask() }); n != 0 {
			t.Errorf("%s: %v allocations", flag, n)
		}
	}
	ask := ours.text("text", asked)
	if n := testing.AllocsPerRun(1000, func() { ask() }); n != 0 {
		t.Errorf("text: %v allocations", n)
	}
}
