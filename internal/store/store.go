// Package store is the record of Iris: every table and every query. What it does not hold did
// not happen. A file per noun, a transaction per verb.
//
// It is SQLite in WAL mode: one connection writes, several read. What a method has returned
// survives the death of the process; a power cut may cost the last commits
// (synchronous=NORMAL). The SQL keeps to what Postgres understands too, but for the claim and
// the migrations.
//
// docs/messages.md draws the states of messages and jobs as they are enforced here.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks a database file as one of Iris ("Iris", see SQLite's PRAGMA
// application_id).
const applicationID = 0x49726973

// readers is how many reads run at once.
const readers = 4

// DB is an open record. It is safe for concurrent use; a write waits its turn until its
// context ends, and once begun it is not cut short.
type DB struct {
	writer *sql.DB // of one connection, so that writes stand in line instead of failing
	reader *sql.DB
	hot    map[string]*sql.Stmt // on writer or reader; read-only once Open is done

	unclean bool                       // it was not closed in good order before
	damage  atomic.Pointer[iris.Error] // what Check has found

	writing chan struct{} // held by the one write that runs
	waiting depth         // belongs to it

	unindexed chan struct{}      // tells the indexer of news; holds one
	stop      context.CancelFunc // ends the indexer
	indexer   sync.WaitGroup

	// looked is the time (ms) at which a Claim last found no job; NextRun starts from there.
	looked atomic.Int64

	deliver func() // see OnDelivery
}

// Open opens the record in the file at path and makes or migrates it where need be. The folder
// must exist. Nobody but the file's owner can read it. Another process may have it open too, as
// the commands about keys do beside a running server: their writes wait for each other.
func Open(ctx context.Context, path string) (*DB, error) {
	if err := touch(path); err != nil {
		return nil, err
	}
	indexing, stop := context.WithCancel(context.Background())
	db := &DB{
		hot: map[string]*sql.Stmt{}, writing: make(chan struct{}, 1), deliver: func() {},
		unindexed: make(chan struct{}, 1), stop: stop,
	}
	if err := db.open(ctx, path); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	db.indexer.Go(func() { db.index(indexing) })
	return db, nil
}

// touch makes the file, so that SQLite makes its companions (-wal, -shm) with the same mode.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = errors.Join(f.Chmod(0o600), f.Close())
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the data folder %s does not exist: make it, or name another one with IRIS_HOME", filepath.Dir(path))
	default:
		return fmt.Errorf("the database cannot be written; check the folder's owner and permissions, or name another one with IRIS_HOME: %w", err)
	}
}

// depth is how many turns wait in the queue. It is counted once, at the start, and then along
// with each write, for a bound that is exact and costs nothing: nobody but the owner of the
// data folder changes the queue.
type depth struct {
	now   int        // committed
	added int        // by the write that runs
	most  func() int // nil: no bound
}

// Bound makes Accept refuse when so many turns wait already (QUEUE_FULL). It is asked anew each
// time. Call it before the record is used.
func (db *DB) Bound(most func() int) { db.waiting.most = most }

func (db *DB) open(ctx context.Context, path string) (err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	alone, err := lockFolder(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer alone.Close()
	db.unclean = unclean(path)
	dsn := (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String() + "?_pragma=busy_timeout(5000)"
	if err := own(ctx, dsn, path); err != nil {
		return err
	}
	if db.writer, err = sql.Open("sqlite", dsn+"&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_txlock=immediate"); err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	db.writer.SetMaxOpenConns(1)
	if err := db.migrate(ctx, path); err != nil {
		return err
	}
	if db.reader, err = sql.Open("sqlite", dsn+"&_pragma=query_only(1)"); err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	db.reader.SetMaxOpenConns(readers)
	db.reader.SetMaxIdleConns(readers)
	if err := db.prepare(ctx); err != nil {
		return err
	}
	// A message that is queued has a job that waits.
	return wrap(db.row(ctx, `SELECT count(*) FROM message WHERE status = 'queued'`).Scan(&db.waiting.now), "count the waiting jobs")
}

// lockFolder waits until no other process makes or migrates a record in the folder. SQLite's own
// locks do not do that: what turns the journal into a WAL fails at once where another has the
// file open, and a migration is several transactions. Closing the file lets go of the lock.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the data folder: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the data folder: %w", err), f.Close())
	}
	return f, nil
}

// own refuses a file that is no database or somebody else's, and marks a new one as ours. It
// changes nothing in a file it refuses.
func own(ctx context.Context, dsn, path string) (err error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var id, tables int
	err = db.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)`).Scan(&id, &tables)
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
			return fmt.Errorf("%s is not a database, or a damaged one: put a backup in its place and remove its -wal and -shm, or move all three away to begin anew: %w", path, err)
		case sqlite3.SQLITE_BUSY:
			return fmt.Errorf("%s is in use by another program: end it, or name another data folder with IRIS_HOME: %w", path, err)
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("open database %s: %w", path, fault(err))
	case id == applicationID:
		return nil
	case id != 0 || tables > 0:
		return fmt.Errorf("%s is a database of another program: move it away, or name another data folder with IRIS_HOME", path)
	}
	if _, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
		return fmt.Errorf("mark database %s: %w", path, fault(err))
	}
	return nil
}

// migrate brings the tables to the form that this Iris knows. Nobody else does so meanwhile.
func (db *DB) migrate(ctx context.Context, path string) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	m, err := goose.NewProvider(goose.DialectSQLite3, db.writer, files)
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	sources := m.ListSources()
	knows := sources[len(sources)-1].Version
	has, err := m.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("migrate database: %w", fault(err))
	}
	if has > knows {
		return fmt.Errorf("%s was made by a newer Iris (form %d, this one knows %d): install that version or a later one, or name another data folder with IRIS_HOME", path, has, knows)
	}
	if _, err := m.Up(ctx); err != nil {
		return fmt.Errorf("migrate database %s: %w", path, fault(err))
	}
	return nil
}

// prepare compiles the statements of the hot path once.
func (db *DB) prepare(ctx context.Context) error {
	for handle, texts := range map[*sql.DB][]string{db.writer: hotWrites(), db.reader: hotReads()} {
		for _, text := range texts {
			s, err := handle.PrepareContext(ctx, text)
			if err != nil {
				return fmt.Errorf("prepare %q: %w", text, err)
			}
			db.hot[text] = s
		}
	}
	return nil
}

// hotWrites and hotReads are the statements of the hot path.
func hotWrites() []string {
	texts := []string{
		beginWrite, commitWrite, rollbackWrite,
		putStanding, putNamed, putFresh, useSession, setAgent,
		findSame, findTurn, stepBack, addMessage, addJob,
		nextJob, claimJob, startMessage, renewJob, returnJob, requeueMessage,
		finishJob, promote, demote, finishMessage, addUsage,
		someUnindexed, dropWords, addWords, dropIndexed, mergeWords,
	}
	for _, b := range batches {
		texts = append(texts, b.text)
	}
	texts = append(texts, onceWrites()...)
	return append(texts, deliveryWrites()...)
}

func hotReads() []string {
	return append(deliveryReads(), getMessage, getHead, getSession, eventsAfter, lastSeq, keyByHash, position, backlog, nextRun, anyUnindexed,
		waitingOf, runningOf, turnsOf)
}

// Close waits for what runs and closes the file. No method may be called afterwards.
func (db *DB) Close() error {
	db.stop()
	db.indexer.Wait()
	var errs []error
	for _, s := range db.hot {
		errs = append(errs, s.Close())
	}
	if db.reader != nil {
		errs = append(errs, db.reader.Close())
	}
	if db.writer != nil {
		errs = append(errs, db.writer.Close()) // last, for it checkpoints
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// Ping writes something, so it fails when nothing can be stored, or when what is stored is
// damaged. An *iris.Error says what is wrong with the disk.
func (db *DB) Ping(ctx context.Context) error {
	if damage := db.damage.Load(); damage != nil {
		return damage
	}
	err := db.write(ctx, func(tx tx) error {
		_, err := tx.exec(`INSERT INTO ping (one, at) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET at = excluded.at`, millis(time.Now()))
		return err
	})
	return wrap(err, "write to the database")
}

// tx is a running write.
type tx struct{ db *DB }

// The transaction is begun and ended by statements of our own, on the one connection that
// writes. database/sql's own transactions start a goroutine each, and one more for each query
// in them, to watch a context that a write does not have; beside an idle machine's answer,
// waking other cores for those took longer than the writing.
const (
	beginWrite    = `BEGIN IMMEDIATE`
	commitWrite   = `COMMIT`
	rollbackWrite = `ROLLBACK`
)

// write does everything do does, or nothing of it. It waits for its turn until ctx ends; from
// then on it runs to its end, so that no caller's leaving undoes what another needs.
func (db *DB) write(ctx context.Context, do func(tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case db.writing <- struct{}{}:
		defer func() { <-db.writing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	tx := tx{db}
	db.waiting.added = 0
	if _, err := tx.exec(beginWrite); err != nil {
		return err
	}
	done := false
	defer func() {
		if !done { // also when do panics
			tx.exec(rollbackWrite) // fails only where SQLite has rolled back by itself
		}
	}()
	if err := do(tx); err != nil {
		return err
	}
	if _, err := tx.exec(commitWrite); err != nil {
		return err
	}
	done = true
	db.waiting.now += db.waiting.added
	return nil
}

// waits notes that one more job of the kind waits, or one less.
func (tx tx) waits(kind iris.JobKind, n int) {
	if kind == iris.JobTurn {
		tx.db.waiting.added += n
	}
}

func (tx tx) exec(text string, args ...any) (rows int64, err error) {
	var res sql.Result
	if s, ok := tx.db.hot[text]; ok {
		res, err = s.Exec(args...)
	} else {
		res, err = tx.db.writer.Exec(text, args...)
	}
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (tx tx) row(text string, args ...any) *sql.Row {
	if s, ok := tx.db.hot[text]; ok {
		return s.QueryRow(args...)
	}
	return tx.db.writer.QueryRow(text, args...)
}

// query reads rows within the write; they are to be closed before it does anything else.
func (tx tx) query(text string, args ...any) (*sql.Rows, error) {
	if s, ok := tx.db.hot[text]; ok {
		return s.Query(args...)
	}
	return tx.db.writer.Query(text, args...)
}

// row reads one row outside any transaction. It takes microseconds and is not cut short.
func (db *DB) row(ctx context.Context, text string, args ...any) *sql.Row {
	ctx = context.WithoutCancel(ctx)
	if s, ok := db.hot[text]; ok {
		return s.QueryRowContext(ctx, args...)
	}
	return db.reader.QueryRowContext(ctx, text, args...)
}

// query reads rows outside any transaction.
func (db *DB) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if s, ok := db.hot[text]; ok {
		return s.QueryContext(ctx, args...)
	}
	return db.reader.QueryContext(ctx, text, args...)
}

// collect reads all rows with scan, which a single row is read with too, and closes them.
func collect[T any](rows *sql.Rows, scan func(scanner) (T, error)) (all []T, err error) {
	defer rows.Close()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// scanner is a *sql.Row or *sql.Rows.
type scanner interface{ Scan(into ...any) error }

// wrap says what was being done when err came, and what is wrong with the disk if that is why,
// but for errors that callers are told of as they are. A nil error stays nil.
func wrap(err error, doing string, args ...any) error {
	if _, ok := errors.AsType[*iris.Error](err); ok || err == nil || errors.Is(err, iris.ErrFinal) {
		return err
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(doing, args...), fault(err))
}
