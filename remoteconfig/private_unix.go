//go:build unix

package remoteconfig

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// nonBlocking opens a pipe at once, which then shows itself as one. Without it the open waits for a writer.
const nonBlocking = syscall.O_NONBLOCK

// private returns an error if another user than root may have written what info tells of.
func private(info fs.FileInfo) error { return privateTo(uint32(os.Geteuid()), info) }

func privateTo(user uint32, info fs.FileInfo) error {
	if info.Mode().Perm()&0o022 != 0 {
		return errors.New("others may write to it")
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != user && stat.Uid != 0 {
		return errors.New("it is another user's")
	}
	return nil
}
