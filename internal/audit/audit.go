// Package audit writes down who did what to Iris itself: made or revoked a key, changed a
// team, decided on a permission, ended a process. The log is a file of JSON lines in the data
// folder that is only ever appended to, by the server and by commands alike.
package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// FileName is the log's name in the data folder.
const FileName = "audit.log"

// Log is the log of a data folder. Its methods may be called at once, and other processes may
// write to the same file.
type Log struct {
	file string
	log  *slog.Logger
}

// New makes the log of a data folder. It opens the file for each entry anew, so that the file
// may be moved away at any time; log is told what could not be written.
func New(home string, log *slog.Logger) *Log {
	return &Log{file: filepath.Join(home, FileName), log: log}
}

// line is an entry as it is written.
type line struct {
	At        string           `json:"at"` // RFC 3339 in UTC, with milliseconds
	Action    iris.AuditAction `json:"action"`
	Subject   string           `json:"subject,omitempty"`
	By        string           `json:"by"`             // local, team, key or jwt
	Name      string           `json:"name,omitempty"` // of the team, the key or the token's subject
	Address   string           `json:"address,omitempty"`
	RequestID string           `json:"requestId,omitempty"`
	Details   map[string]any   `json:"details,omitempty"`
}

// Record appends an entry. What was done is done: an entry that cannot be written is a warning
// in the log of Iris, with the entry in it, and nobody's error.
func (l *Log) Record(ctx context.Context, e iris.AuditEntry) {
	if err := l.write(e); err != nil {
		l.log.LogAttrs(ctx, slog.LevelWarn, "the audit log cannot be written", slog.Any("error", err),
			slog.String("action", string(e.Action)), slog.String("subject", e.Subject),
			slog.String("by", string(e.By.Kind)), slog.String("name", e.By.Name),
			slog.String("address", e.Address), slog.String("requestId", e.RequestID))
	}
}

func (l *Log) write(e iris.AuditEntry) (err error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(line{
		At: time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), Action: e.Action, Subject: e.Subject,
		By: string(e.By.Kind), Name: e.By.Name, Address: e.Address, RequestID: e.RequestID, Details: e.Details,
	}); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(l.file), 0o700); err != nil { // a command may be the first to need it
		return err
	}
	file, err := os.OpenFile(l.file, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := lock(file); err != nil {
		return fmt.Errorf("lock %s: %w", l.file, err)
	}
	whole := text.Bytes()
	if torn(file) { // the disk was full once
		whole = append([]byte{'\n'}, whole...)
	}
	_, err = file.Write(whole)
	return err
}

// lock waits until no other goroutine or process is writing. Closing the file lets go of it.
func lock(file *os.File) error {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// torn reports whether the file ends in the middle of a line.
func torn(file *os.File) bool {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	var last [1]byte
	_, err = file.ReadAt(last[:], info.Size()-1)
	return err == nil && last[0] != '\n'
}
