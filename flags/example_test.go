package flags_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tether-go/tether/flags"
)

var document = []byte(`{"flags": {
	"checkout-v2": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
		"targeting": {"if": [{"==": [{"var": "country"}, "SE"]}, "on"]}}
}}`)

func newCheckout() { fmt.Println("the new checkout") }

// The snippet that the package documentation opens with.
func Example() {
	run := func() error {
		store, err := flags.New(flags.Options{})
		if err != nil {
			return err
		}
		if _, err := store.Apply(document); err != nil {
			return err // a *flags.DocumentError: every problem; what was in force still is
		}
		who := flags.Attributes{flags.TargetingKey: "user-17", "country": "SE"}
		if store.Bool(who, "checkout-v2", false) {
			newCheckout()
		}
		return nil
	}
	if err := run(); err != nil {
		fmt.Println(err)
	}
	// Output: the new checkout
}

func ExampleNew() {
	store, err := flags.New(flags.Options{Load: flags.LoadOptions{Format: flags.Tether}})
	if err != nil {
		fmt.Println(err)
		return
	}
	store.Listen(func(keys []string) { fmt.Println("changed:", keys) })
	if _, err := store.Apply([]byte(`{"schema": 1, "flags": ` + string(document) + `}`)); err != nil {
		fmt.Println(err)
	}
	// Output: changed: [checkout-v2]
}

func ExampleLoad() {
	set, err := flags.Load(document, flags.LoadOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	d := set.BoolDetails(nil, "checkout-v2", true)
	fmt.Println(d.Value, d.Variant, d.Reason)
	_, err = flags.Load([]byte(`{"flags": {"f": {"state": "ENABLED", "variants": {"on": true},
		"targeting": {"if": [true, "onn"]}}}}`), flags.LoadOptions{})
	fmt.Println(err)
	// Output:
	// false off DEFAULT
	// flags: document refused: line 2: flags.f.targeting.if[1]: "onn" is not a variant of the flag
}

func ExampleNewGuard() {
	store, err := flags.New(flags.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := store.Apply(document); err != nil {
		fmt.Println(err)
		return
	}
	guard, err := flags.NewGuard(store, "checkout-v2", flags.GuardPolicy{}, flags.GuardOptions{
		FallBack: true, // a quote may be asked for twice
		Observe:  func(e flags.GuardEvent) { fmt.Println(e.Key, e.Kind+":", e.Err) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var quote string
	err = guard.Do(context.Background(), flags.Attributes{"country": "SE"},
		func(context.Context) error { return errors.New("no route") },
		func(context.Context) error { quote = "from the old path"; return nil })
	fmt.Println(quote, err)
	// Output:
	// checkout-v2 fell back: no route
	// from the old path <nil>
}
