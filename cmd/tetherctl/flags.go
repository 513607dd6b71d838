package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/tether-go/tether/flags"
)

// flagsCommand is explain and simulate, of the flags of a document.
func flagsCommand(args []string, stdout, _ io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	switch args[0] {
	case "explain":
		return explain(args[1:], stdout)
	case "simulate":
		return simulate(args[1:], stdout)
	}
	return errUsage
}

// flagOf reads the arguments FILE KEY, with options wherever they stand, and the attributes.
func flagOf(options *flag.FlagSet, args []string) (set *flags.Set, key string, who flags.Attributes, err error) {
	context := options.String("context", "{}", "")
	var names []string
	for err := options.Parse(args); options.NArg() > 0 || err != nil; err = options.Parse(args) {
		if err != nil {
			return nil, "", nil, errUsage
		}
		names, args = append(names, options.Arg(0)), options.Args()[1:]
	}
	if len(names) != 2 {
		return nil, "", nil, errUsage
	}
	if err := json.Unmarshal([]byte(*context), &who); err != nil {
		return nil, "", nil, fmt.Errorf("-context is no JSON object: %w", err)
	}
	if who == nil {
		who = flags.Attributes{}
	}
	set, err = loadFlags(names[0])
	return set, names[1], who, err
}

// loadFlags reads flagd's document, or tether's: that has a schema.
func loadFlags(name string) (*flags.Set, error) {
	data, err := readLimited(name)
	if err != nil {
		return nil, err
	}
	var head struct {
		Schema json.RawMessage `json:"schema"`
	}
	_ = json.Unmarshal(data, &head) // what is wrong with it is told better below
	options := flags.LoadOptions{}
	if head.Schema != nil {
		options.Format = flags.Tether
	}
	set, err := flags.Load(data, options)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errRefused, name, err)
	}
	return set, nil
}

func explain(args []string, stdout io.Writer) error {
	set, key, who, err := flagOf(flagsOf("explain"), args)
	if err != nil {
		return err
	}
	x := set.Explain(who, key)
	for _, step := range x.Steps {
		line := strings.Repeat("  ", step.Depth) + step.What
		if step.Result != "" {
			line += " = " + step.Result
		}
		fmt.Fprintln(stdout, line)
	}
	d := x.Details
	if d.Variant == "" {
		fmt.Fprintf(stdout, "%s is the caller's default: %s\n", key, because(d))
		return nil
	}
	value, err := json.Marshal(d.Value)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s is %s, variant %s: %s\n", key, value, d.Variant, because(d))
	return nil
}

func because(d flags.Details[any]) string {
	if d.Code == "" {
		return string(d.Reason)
	}
	return fmt.Sprintf("%s, %s: %s", d.Reason, d.Code, d.Message)
}

const maxSimulated = 10_000_000

// simulate evaluates a flag for many keys.
func simulate(args []string, stdout io.Writer) error {
	options := flagsOf("simulate")
	n := options.Int("n", 0, "")
	file := options.String("keys", "", "")
	set, key, who, err := flagOf(options, args)
	if err != nil {
		return err
	}
	if (*n > 0) == (*file != "") || *n > maxSimulated || *n < 0 {
		return errUsage
	}
	counts, total := make(map[string]int), 0
	count := func(targetingKey string) {
		who[flags.TargetingKey] = targetingKey
		counts[outcome(set, who, key)]++
		total++
	}
	for i := range *n {
		count(fmt.Sprint("key-", i+1))
	}
	if *file != "" {
		if err := eachLine(*file, count); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(stdout, "%-20s %9d  %7.3f %%\n", name, counts[name], 100*float64(counts[name])/float64(total))
	}
	fmt.Fprintf(stdout, "%-20s %9d keys\n", "", total)
	return nil
}

// outcome names the variant, or why there is none.
func outcome(set *flags.Set, who flags.Attributes, key string) string {
	d := set.BoolDetails(who, key, false) // of another type it has its variant all the same
	switch {
	case d.Variant != "":
		return d.Variant
	case d.Code != "":
		return "(error " + string(d.Code) + ")"
	}
	return "(caller's default)"
}

// eachLine reads a file of keys, one a line.
func eachLine(name string, do func(line string)) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if line := bytes.TrimSpace(lines.Bytes()); len(line) > 0 {
			do(string(line))
		}
	}
	return lines.Err()
}
