// Command modproxy lays modules out as a module proxy does, in a folder, so that the go command can
// get a version that nobody has tagged yet: GOPROXY=file://FOLDER.
//
//	modproxy FOLDER VERSION MODULE...
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: modproxy FOLDER VERSION MODULE...")
		os.Exit(2)
	}
	for _, source := range os.Args[3:] {
		if err := publish(os.Args[1], os.Args[2], source); err != nil {
			fmt.Fprintf(os.Stderr, "modproxy: %s: %v\n", source, err)
			os.Exit(1)
		}
	}
}

// publish writes the files that the go command asks a proxy for. The zip has what a tag would have:
// nested modules are left out.
func publish(folder, version, source string) error {
	goMod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return err
	}
	path := modfile.ModulePath(goMod)
	escaped, err := module.EscapePath(path)
	if err != nil {
		return err
	}
	base := filepath.Join(folder, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"list":            version + "\n",
		version + ".mod":  string(goMod),
		version + ".info": fmt.Sprintf("{\"Version\":%q}\n", version),
	} {
		if err := os.WriteFile(filepath.Join(base, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	archive, err := os.Create(filepath.Join(base, version+".zip"))
	if err != nil {
		return err
	}
	defer archive.Close()
	if err := zip.CreateFromDir(archive, module.Version{Path: path, Version: version}, source); err != nil {
		return err
	}
	return archive.Close()
}
