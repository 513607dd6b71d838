package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestGuide runs what the publisher's guide tells people to run, and looks at what they would see.
func TestGuide(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the guide's date command is GNU's")
	}
	guide, err := os.ReadFile("../../docs/publishing.md")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "tetherctl"), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var script strings.Builder
	for _, block := range regexp.MustCompile("(?s)\n```sh\n(.*?)```\n").FindAllSubmatch(guide, -1) {
		script.Write(block[1])
	}
	shell := exec.Command("sh", "-e")
	shell.Dir = t.TempDir()
	shell.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	shell.Stdin = strings.NewReader(script.String())
	var out bytes.Buffer
	shell.Stdout, shell.Stderr = &out, &out
	if err := shell.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		"shop.json: shop version 1 is valid",
		"ring 1 of shop: threshold 2 of 3 keys",
		"shop version 1 is signed under ring 1 by alice, bob",
		"rule api: the attempt timeout: rises from 2s to 4s",
		"kill inc-1: reason: now export is down",
		"shop version 3 is signed under ring 1 by alice, bob",
		"shop version 4 is signed under ring 2 by alice, dave",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not said", want)
		}
	}
	if strings.Contains(out.String(), "warning") {
		t.Error("the guide's own documents are warned of")
	}
	if t.Failed() {
		t.Log(&out)
	}
}
