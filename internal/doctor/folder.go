package doctor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/iris-mcp/iris-mcp"
)

// configuration tells what the file's reader said.
func (d *Doctor) configuration() []Finding {
	const subject = "configuration"
	var found []Finding
	for _, p := range d.Problems {
		found = append(found, Finding{subject, Fail, p, "correct the file; iris-mcp config check looks at it again"})
	}
	for _, w := range d.Warnings {
		found = append(found, Finding{Subject: subject, Level: Warn, Text: w})
	}
	if len(found) > 0 {
		return found
	}
	text := fmt.Sprintf("%s: %d teams", d.File, len(d.Teams))
	if len(d.Teams) == 1 {
		text = d.File + ": 1 team"
	}
	return []Finding{{Subject: subject, Level: OK, Text: text}}
}

// maxSocket is how many bytes the path of a Unix socket may have everywhere: macOS allows 103,
// Linux 107. A longer one is replaced by internal/owner.
const maxSocket = 100

// dataFolder looks whether the record can be kept, and kept from others.
func (d *Doctor) dataFolder() []Finding {
	const subject = "data folder"
	info, err := os.Stat(d.Home)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := writable(existingParent(d.Home)); err != nil {
			return []Finding{{subject, Fail, fmt.Sprintf("%s cannot be made: %v", d.Home, err), "name another one with IRIS_HOME"}}
		}
		return []Finding{{subject, OK, d.Home + " will be made at the first start", ""}}
	case err != nil:
		return []Finding{{subject, Fail, err.Error(), "check its owner and permissions, or name another one with IRIS_HOME"}}
	case !info.IsDir():
		return []Finding{{subject, Fail, d.Home + " is not a folder", "move it away, or name another one with IRIS_HOME"}}
	}
	if err := writable(d.Home); err != nil {
		return []Finding{{subject, Fail, fmt.Sprintf("%s cannot be written: %v", d.Home, err), "check its owner and permissions, or name another one with IRIS_HOME"}}
	}
	var found []Finding
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		found = append(found, Finding{subject, Warn, fmt.Sprintf("%s is open to other users (mode %04o)", d.Home, mode), "chmod 700 " + d.Home})
	}
	if remote(d.Home) {
		found = append(found, Finding{subject, Warn, d.Home + " is on a network file system, where locks may not hold between machines and SQLite is not safe", "name a folder on a local disk with IRIS_HOME"})
	}
	if found != nil {
		return found
	}
	text := d.Home
	if len(d.Socket) > maxSocket {
		text += " (its path is long for a socket, which will lie in the temporary folder)"
	}
	return []Finding{{subject, OK, text, ""}}
}

// writable tries to make a file in the folder, and takes it away again.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".iris-doctor-*")
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// existingParent is the nearest folder above that is there.
func existingParent(dir string) string {
	for {
		up := filepath.Dir(dir)
		if info, err := os.Stat(up); err == nil && info.IsDir() || up == dir {
			return up
		}
		dir = up
	}
}

// teams looks at every team's folder.
func (d *Doctor) teams() []Finding {
	var found []Finding
	for _, team := range d.Teams {
		found = append(found, folder(team))
	}
	return found
}

func folder(team iris.Team) Finding {
	f := Finding{Subject: "team " + team.Name, Level: Fail, Do: "correct the path of the team in the configuration"}
	info, err := os.Stat(team.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Text, f.Do = team.Path+" does not exist", "make the folder, or correct the path of the team in the configuration"
		return f
	case err != nil:
		f.Text = err.Error()
		return f
	case !info.IsDir():
		f.Text = team.Path + " is not a folder"
		return f
	}
	dir, err := os.Open(team.Path)
	if err == nil {
		if _, err = dir.Readdirnames(1); errors.Is(err, io.EOF) {
			err = nil // empty
		}
		err = errors.Join(err, dir.Close())
	}
	if err != nil {
		f.Text, f.Do = fmt.Sprintf("%s cannot be read: %v", team.Path, err), "check the folder's owner and permissions"
		return f
	}
	return Finding{Subject: f.Subject, Level: OK, Text: team.Path}
}
