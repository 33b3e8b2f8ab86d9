package auth

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	iris "github.com/iris-mcp/iris-mcp"
)

// localFile is the local key's file in the data folder.
const localFile = "local.key"

var localKey = regexp.MustCompile(`^` + iris.KeyPrefix + `[A-Za-z0-9_-]{40,}$`)

// LocalKey reads the local key from the data folder, which it makes if need be. At the first
// start it makes the key, too; several starters at once get the same one, for who makes it
// holds the file's lock, and a maker that died leaves nothing or the whole key. A key that
// others may have read is refused, and so is a file that holds no key.
func LocalKey(dir string) (key string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the data folder: %w", err)
	}
	path := filepath.Join(dir, localFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return "", fmt.Errorf("open the local key: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := lock(file); err != nil {
		return "", fmt.Errorf("lock the local key: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return "", fmt.Errorf("look at the local key: %w", err)
	}
	if loose := info.Mode().Perm() & 0o077; loose != 0 || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is open to others (mode %04o), so its key may be known: remove it, and the next start makes a new one", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(file, 4096))
	if err != nil {
		return "", fmt.Errorf("read the local key: %w", err)
	}
	if key = strings.TrimSpace(string(text)); localKey.MatchString(key) {
		return key, nil
	}
	if key != "" {
		return "", fmt.Errorf("%s holds no key: remove it, and the next start makes a new one", path)
	}
	key, _ = NewKey()
	if _, err := file.WriteAt([]byte(key+"\n"), 0); err != nil {
		return "", errors.Join(fmt.Errorf("write the local key: %w", err), file.Truncate(0))
	}
	if err := file.Sync(); err != nil {
		return "", fmt.Errorf("write the local key: %w", err)
	}
	return key, nil
}

// lock waits for the file's lock. Closing the file lets go of it.
func lock(file *os.File) error {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
