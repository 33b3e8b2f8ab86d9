package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Backup writes the record in the file at path, as it is at one moment, to a new file, which
// is whole or not there: nobody but the owner can read it. It is for a file of its own, not for
// an open DB: another process may have the record open, and goes on writing meanwhile.
func Backup(ctx context.Context, path, to string) (err error) {
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s exists, and is left as it is: name another file", to)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is nothing to back up yet: %s does not exist", path)
	} else if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()+"?mode=rw&_pragma=busy_timeout(5000)")
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var id int
	if err := db.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&id); err != nil {
		return wrap(err, "back up %s", path)
	}
	if id != applicationID {
		return fmt.Errorf("%s is no record of Iris", path)
	}

	dir := filepath.Dir(to)
	f, err := os.CreateTemp(dir, "."+filepath.Base(to)+".*") // mode 0600
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no folder %s: make it, or name a file elsewhere", dir)
	} else if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, f.Name()) // into a file that is empty
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code()&0xff == sqlite3.SQLITE_FULL {
		return errors.Join(fmt.Errorf("there is no room for %s: make some, or name a file elsewhere: %w", to, err), f.Close())
	}
	if err != nil {
		return errors.Join(wrap(err, "back up to %s", to), f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if err := os.Link(f.Name(), to); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s has come to be meanwhile, and is left as it is: name another file", to)
	} else if err != nil { // a file system without links
		if err := os.Rename(f.Name(), to); err != nil {
			return fmt.Errorf("back up: %w", err)
		}
	}
	return syncDir(dir)
}

// syncDir makes the folder's new entry survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
