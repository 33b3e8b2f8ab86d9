// Package owner lets one iris-mcp own a data folder, with its pool, queue and store, and the
// others reach it: a lock that ends with the process that holds it, and a Unix socket for the
// relays. A relay passes its MCP client's lines to the owner and the owner's back.
//
// The lock is flock(2) on the file `lock`, which is never removed: with a new file a second
// process would lock a second inode. The system frees it however its holder ends, and children
// do not inherit it, for Go opens files close-on-exec. On NFS flock may hold for one machine
// only, or fail: keep the data folder on a local disk.
package owner

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrTaken says that another process owns the data folder.
var ErrTaken = errors.New("another iris-mcp owns the data folder")

const (
	lockName   = "lock"
	sockName   = "sock"
	socketName = "socket" // has the socket's path, where that is not in the data folder

	// maxSocketPath is the longest path we bind: the system's limit is 107 bytes on Linux and
	// 103 on macOS (seen: "invalid argument" at 121).
	maxSocketPath = 100

	helloTime = 5 * time.Second // for a relay to say who it is, and for the owner to answer
	maxHello  = 64 << 10
)

// Hello is the first line that a relay sends.
type Hello struct {
	Iris       int    `json:"iris"`       // the protocol between relay and owner: 1
	Cwd        string `json:"cwd"`        // the client's working folder
	ProjectDir string `json:"projectDir"` // its CLAUDE_PROJECT_DIR, or ""
	Version    string `json:"version"`    // of the relay's program
	Config     string `json:"config"`     // its --config, absolute; "" if it has none
	PID        int    `json:"pid"`
}

// Welcome is the owner's answer. What it says about the owner's configuration counts.
type Welcome struct {
	OK      bool   `json:"ok"`
	Version string `json:"version,omitempty"`
	Config  string `json:"config,omitempty"`
	PID     int    `json:"pid,omitempty"`
	Error   string `json:"error,omitempty"` // why not, when not OK
}

// Owner holds a data folder. Serve is called once; Close after Serve has returned, or instead.
type Owner struct {
	lock *os.File
	ln   *net.UnixListener
	sock string
}

// Take makes the folder if there is none and takes it for this process. If another one has
// it the error is ErrTaken; any other says what is wrong with the folder and what to do.
func Take(dir string) (*Owner, error) {
	if err := prepare(dir); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, folderError(dir, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrTaken
		}
		return nil, fmt.Errorf("cannot lock the data folder %s: %w; set IRIS_HOME to a folder on a local disk", dir, err)
	}
	o := &Owner{lock: lock}
	if err := o.listen(dir); err != nil {
		lock.Close()
		return nil, err
	}
	return o, nil
}

// prepare makes the data folder, for its owner only: it holds a key and all that was asked.
func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return folderError(dir, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return folderError(dir, err)
	}
	if info.Mode()&fs.ModeSticky != 0 {
		return fmt.Errorf("%s is a folder that all users share; set IRIS_HOME to a folder for Iris alone, like %s", dir, filepath.Join(dir, "iris"))
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("others may read the data folder %s, which holds a key, and that cannot be changed: %w; set IRIS_HOME to a folder of your own", dir, err)
		}
	}
	return nil
}

// folderError says what to do about a data folder that cannot be used.
func folderError(dir string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrExist):
		return fmt.Errorf("the data folder %s is not a folder; move the file away or set IRIS_HOME to another place: %w", dir, err)
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the data folder %s cannot be written; change its permissions or set IRIS_HOME to a folder of your own: %w", dir, err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("the disk of the data folder %s is full; make room or set IRIS_HOME to another disk: %w", dir, err)
	default:
		return fmt.Errorf("the data folder %s cannot be used; set IRIS_HOME to another one: %w", dir, err)
	}
}

// listen binds the socket. Under the lock whatever lies at its path is dead.
func (o *Owner) listen(dir string) error {
	o.sock = filepath.Join(dir, sockName)
	elsewhere := filepath.Join(dir, socketName)
	if len(o.sock) <= maxSocketPath {
		if err := remove(elsewhere); err != nil {
			return folderError(dir, err)
		}
	} else {
		far, err := farFolder(dir)
		if err != nil {
			return err
		}
		o.sock = filepath.Join(far, sockName)
		if err := writeFile(elsewhere, o.sock); err != nil {
			return folderError(dir, err)
		}
	}
	if err := remove(o.sock); err != nil {
		return folderError(dir, err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: o.sock, Net: "unix"})
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w; set IRIS_HOME to a folder on a local disk", o.sock, err)
	}
	ln.SetUnlinkOnClose(false) // Close removes it, under the lock
	if err := os.Chmod(o.sock, 0o600); err != nil {
		ln.Close()
		return folderError(dir, err)
	}
	o.ln = ln
	return nil
}

// farFolder is where the socket of a deep data folder lies: a folder of the temporary one,
// ours alone, named by the data folder so that no run leaves another behind.
func farFolder(dir string) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", folderError(dir, err)
	}
	far := filepath.Join(os.TempDir(), fmt.Sprintf("iris-%d-%x", os.Getuid(), sha256.Sum256([]byte(real)))[:32])
	if len(far)+1+len(sockName) > maxSocketPath {
		return "", fmt.Errorf("the paths of the data folder %s and of the temporary folder are too long for a socket; set IRIS_HOME to a shorter path", dir)
	}
	if err := os.Mkdir(far, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("cannot make %s for the socket: %w; set IRIS_HOME to a shorter path", far, err)
	}
	// Anybody may have made it before us.
	info, err := os.Lstat(far)
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", far, err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !ok || int(st.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s is not a folder of yours alone; remove it or set IRIS_HOME to a shorter path", far)
	}
	return far, nil
}

// writeFile replaces a file whole, for a relay may read it at any time.
func writeFile(path, text string) error {
	tmp := path + "." + strconv.Itoa(os.Getpid())
	if err := os.WriteFile(tmp, []byte(text+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// socketPath is where the owner of a data folder listens.
func socketPath(dir string) string {
	if text, err := os.ReadFile(filepath.Join(dir, socketName)); err == nil {
		return strings.TrimSpace(string(text))
	}
	return filepath.Join(dir, sockName)
}

// Alive reports whether somebody owns the data folder now. It costs the owner nothing.
func Alive(dir string) bool {
	conn, err := net.DialTimeout("unix", socketPath(dir), helloTime)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// Serve takes relays until ctx ends, tells each who this owner is (me; OK and PID are filled
// in) and gives it to handle, which has a goroutine of its own and serves the relay's client
// until that goes or its ctx, which ends with Serve's, does. The connection is closed after it.
// Serve returns ctx's cause when the last handle has returned.
func (o *Owner) Serve(ctx context.Context, me Welcome, handle func(ctx context.Context, conn net.Conn, hello Hello)) error {
	me.OK, me.PID = true, os.Getpid()
	var relays sync.WaitGroup
	defer relays.Wait()
	defer context.AfterFunc(ctx, func() { o.ln.Close() })()
	for {
		conn, err := o.ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return context.Cause(ctx)
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("the owner's socket was closed: %w", err)
		case err != nil: // no files left, or a relay that went at once
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		relays.Go(func() {
			defer conn.Close()
			if known, hello, ok := welcome(conn, me); ok {
				handle(ctx, known, hello)
			}
		})
	}
}

// welcome reads a relay's hello and answers it.
func welcome(conn net.Conn, me Welcome) (net.Conn, Hello, bool) {
	conn.SetDeadline(time.Now().Add(helloTime))
	r := bufio.NewReaderSize(conn, maxHello)
	line, err := r.ReadSlice('\n')
	if err != nil {
		return nil, Hello{}, false // whoever connects only to see that somebody is there
	}
	var hello Hello
	if err := json.Unmarshal(line, &hello); err != nil || hello.Iris != 1 {
		me = Welcome{Version: me.Version, PID: me.PID, Error: "this relay speaks another protocol than the owner: " +
			"two versions of iris-mcp are in use; end all of them and start again"}
	}
	answer, err := json.Marshal(me)
	if err != nil {
		panic(err) // a struct of texts and numbers
	}
	if _, err := conn.Write(append(answer, '\n')); err != nil || !me.OK {
		return nil, Hello{}, false
	}
	conn.SetDeadline(time.Time{})
	return &buffered{conn, r}, hello, true
}

// buffered is a connection of which a reader has read ahead.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// Close frees the data folder. The lock file stays; its lock ends here, the last of all.
func (o *Owner) Close() error {
	err := o.ln.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, remove(o.sock), o.lock.Close())
}
