package store

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"

	"github.com/iris-mcp/iris-mcp"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// faults are what may be wrong with the disk under the record: what a caller is told, which
// is no secret, and whether it may pass. SQLite goes on by itself when it does: a write that
// failed has written nothing, and the next one is as good as the first.
var faults = map[int]struct {
	name, says string
	passes     bool
}{
	sqlite3.SQLITE_FULL:     {"full", "the disk with the data folder is full, so nothing can be stored: free some space, and Iris goes on by itself", true},
	sqlite3.SQLITE_READONLY: {"readonly", "the data folder cannot be written: check its file system and its permissions; Iris goes on by itself when it can", true},
	sqlite3.SQLITE_CANTOPEN: {"unreachable", "the record in the data folder cannot be opened: check its file system and its permissions; Iris goes on by itself when it can", true},
	sqlite3.SQLITE_IOERR:    {"failing", "the disk with the data folder fails, so nothing can be stored: check it; Iris goes on by itself when it works", true},
	sqlite3.SQLITE_BUSY:     {"busy", "another program holds the record in the data folder: end it, and Iris goes on by itself", true},
	sqlite3.SQLITE_CORRUPT:  {"damaged", damaged, false},
	sqlite3.SQLITE_NOTADB:   {"damaged", damaged, false},
}

const damaged = "the record in the data folder is damaged: stop Iris, put a backup in its place, and start it again"

// fault names what is wrong with the disk, if that is why err came.
func fault(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	code := e.Code() & 0xff
	if e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE { // no room for the -shm, which is made anew at a start
		code = sqlite3.SQLITE_FULL
	}
	f, ok := faults[code]
	if !ok {
		return err
	}
	told := iris.Errorf(iris.CodeInternal, "%s", f.says).With("store", f.name).Because(err)
	told.Retry = f.passes
	return told
}

// Passes reports whether err is a fault of the disk under the record, or of the data folder's
// files, that may pass without anything being done to Iris.
func Passes(err error) bool {
	e, ok := errors.AsType[*iris.Error](err)
	return ok && e.Retry && e.Details["store"] != nil || errors.Is(err, syscall.ENOSPC)
}

// unclean reports whether the last one who had the record open did not close it: whoever does
// removes the WAL.
func unclean(path string) bool {
	info, err := os.Stat(path + "-wal")
	return err == nil && info.Size() > 0
}

// Unclean reports whether the record was not closed in good order before it was opened.
func (db *DB) Unclean() bool { return db.unclean }

// Check reads the record through and says what is damaged, an *iris.Error; from then on Ping
// fails. Others may read and write meanwhile. It takes about a second for each GB, and ends
// with the context.
func (db *DB) Check(ctx context.Context) error {
	rows, err := db.reader.QueryContext(ctx, `PRAGMA quick_check(5)`)
	if err != nil {
		return wrap(err, "check the record")
	}
	found, err := collect(rows, func(row scanner) (s string, err error) { return s, row.Scan(&s) })
	if err != nil {
		return wrap(err, "check the record")
	}
	if len(found) == 1 && found[0] == "ok" {
		return nil
	}
	told := iris.Errorf(iris.CodeInternal, "%s", damaged).With("store", "damaged").Because(errors.New(strings.Join(found, "; ")))
	db.damage.Store(told)
	return told
}
