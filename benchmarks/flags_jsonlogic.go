package main

import (
	"encoding/json"

	"github.com/diegoholiveira/jsonlogic/v3"
)

// jsonLogic evaluates the document's rules, decoded once, and looks the variant up: that much is asked of
// everybody. A flag without a rule is no question for it.
func jsonLogic() (flagContender, error) {
	var document struct {
		Flags map[string]struct {
			Variants  map[string]any
			Targeting any
		}
	}
	if err := json.Unmarshal([]byte(flagsDocument), &document); err != nil {
		return flagContender{}, err
	}
	jsonlogic.AddOperator("fractional", jsonLogicTenth)
	about := func(flag string, u user) any {
		data := u.attributes()
		data["$flagd"] = map[string]any{"flagKey": flag}
		return data
	}
	variant := func(flag string, data any) any {
		f := document.Flags[flag]
		//lint:ignore SA1019 the other ways in decode the rule and the data each time
		name, err := jsonlogic.ApplyInterface(f.Targeting, data)
		if err != nil {
			return nil
		}
		text, _ := name.(string)
		return f.Variants[text]
	}
	return flagContender{
		name: "jsonlogic",
		yes: func(flag string, u user) func() bool {
			if document.Flags[flag].Targeting == nil {
				return nil
			}
			data := about(flag, u)
			return func() bool { on, _ := variant(flag, data).(bool); return on }
		},
		text: func(flag string, u user) func() string {
			data := about(flag, u)
			return func() string { text, _ := variant(flag, data).(string); return text }
		},
		anew: func(flag string, u user) func() bool {
			return func() bool { on, _ := variant(flag, about(flag, u)).(bool); return on }
		},
	}, nil
}

// jsonLogicTenth is a rollout of two variants, the first of them to a tenth.
func jsonLogicTenth(values, data any) any {
	of := data.(map[string]any)
	key, _ := of["targetingKey"].(string)
	flag, _ := of["$flagd"].(map[string]any)["flagKey"].(string)
	chosen := 1
	if inTenth(flag, key) {
		chosen = 0
	}
	return values.([]any)[chosen].([]any)[0]
}
