package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"gopkg.in/yaml.v3"

	iris "github.com/iris-mcp/iris-mcp"
)

// header begins a file that AddTeam makes.
const header = `# Iris: the teams of this machine. docs/configuration.md knows every key.
# Edits are picked up while Iris runs; ` + "`iris-mcp config check`" + ` looks them over.

`

// AddTeam writes a team into the file and touches no other byte of it; a file that is not
// there is made, with mode 0600. The path is written as t has it, so it should be absolute.
// CONFLICT when there is such a team, or when the file is written in a way that leaves no
// place for it; INVALID_REQUEST when the team itself is wrong; Problems when the file is no
// YAML. A file that AddTeam and RemoveTeam change from several processes loses neither.
func AddTeam(file, name string, t Team) error {
	return edit(file, true, func(file string, text []byte) ([]byte, error) { return addTeam(file, text, name, toNode(t)) })
}

// RemoveTeam takes a team out of the file, with the comment directly above it, and touches no
// other line. TEAM_NOT_FOUND with a suggestion; CONFLICT when other parts of the file need
// the team's lines; Problems when the file is no YAML.
func RemoveTeam(file, name string) error {
	return edit(file, false, func(file string, text []byte) ([]byte, error) { return removeTeam(file, text, name) })
}

// edit replaces the text of the file, or of what a symlink of that name leads to, in one step.
func edit(file string, create bool, change func(file string, text []byte) ([]byte, error)) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	if create {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return fmt.Errorf("make the configuration's folder: %w", err)
		}
	}
	target := file
	if info, err := os.Lstat(file); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if target, err = filepath.EvalSymlinks(file); err != nil {
			return fmt.Errorf("follow the configuration's symlink: %w", err)
		}
	}
	// Two edits at once take turns. Where the drive has no locks, they may not.
	if folder, err := os.Open(filepath.Dir(target)); err == nil {
		defer folder.Close()
		_ = syscall.Flock(int(folder.Fd()), syscall.LOCK_EX)
	}
	for try := 1; ; try++ {
		err := editOnce(file, target, create, change)
		if !errors.Is(err, errMeanwhile) {
			return err
		}
		if try == 5 {
			return iris.Errorf(iris.CodeConflict, "something else keeps writing %s; try again later", file)
		}
	}
}

// errMeanwhile says that somebody who takes no lock, as editors do not, wrote the file while
// an edit was made of what it said before.
var errMeanwhile = errors.New("the file was written meanwhile")

func editOnce(file, target string, create bool, change func(file string, text []byte) ([]byte, error)) error {
	was, err := readFile(target)
	text, mode, owner := was, fs.FileMode(0o600), (*syscall.Stat_t)(nil)
	switch {
	case create && errors.Is(err, fs.ErrNotExist):
		text = []byte(header)
	case err != nil:
		return fmt.Errorf("read the configuration: %w", err)
	default:
		info, err := os.Stat(target)
		if err != nil {
			return fmt.Errorf("read the configuration: %w", err)
		}
		mode = info.Mode().Perm()
		owner, _ = info.Sys().(*syscall.Stat_t)
	}
	if text, err = change(file, text); err != nil {
		return err
	}
	if err := replace(target, was, text, mode, owner); err != nil {
		return cannotWrite(file, err)
	}
	return nil
}

// cannotWrite says what a person has to do where the file may not be written, which is no
// fault of Iris.
func cannotWrite(file string, err error) error {
	says := ""
	switch {
	case errors.Is(err, fs.ErrPermission):
		says = "%s, or its folder, may not be written by the user that Iris runs as: change that, or edit it by hand"
	case errors.Is(err, syscall.EROFS):
		says = "%s is on a file system that cannot be written: edit it where it comes from"
	case errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EXDEV):
		says = "%s cannot be replaced, as a file that is mounted alone cannot: mount its folder, or edit it where it comes from"
	default:
		return fmt.Errorf("write the configuration: %w", err)
	}
	return iris.Errorf(iris.CodeConflict, says, file).Because(err)
}

// replace writes a file beside the target and renames it, so that a reader or a crash sees the
// old text or the new one. A target that may not be written is not replaced either. The owner
// stays when root edits somebody's file. It fails with errMeanwhile when the target is not
// what it was; nil is a target that was not there.
func replace(target string, was, text []byte, mode fs.FileMode, owner *syscall.Stat_t) (err error) {
	if was != nil {
		may, err := os.OpenFile(target, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		may.Close()
	}
	f, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if owner != nil && int(owner.Uid) != os.Getuid() {
		_ = f.Chown(int(owner.Uid), int(owner.Gid))
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	switch is, err := readFile(target); {
	case was == nil && errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case was == nil || !bytes.Equal(is, was):
		return errMeanwhile
	}
	if err := os.Rename(f.Name(), target); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(target))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// addTeam gives the text with the team in it.
func addTeam(file string, text []byte, name string, t *yaml.Node) ([]byte, error) {
	if err := goodTeam(file, name, t); err != nil {
		return nil, err
	}
	p, err := open(file, text)
	if err != nil {
		return nil, err
	}
	if p.team(name) >= 0 {
		return nil, iris.Errorf(iris.CodeConflict, "there is a team %q already, on line %d of %s", name, p.teams.Content[p.team(name)].Line, file)
	}
	entry := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{textNode(name), t}}
	changed, err := p.insert(entry)
	if err != nil {
		return nil, err
	}
	want, err := open(file, text) // the same nodes once more, to be changed
	if err != nil {
		return nil, err
	}
	want.put(entry)
	return p.verified(changed, want.root, "the team cannot be added here without changing the rest; add it by hand")
}

// removeTeam gives the text without the team.
func removeTeam(file string, text []byte, name string) ([]byte, error) {
	p, err := open(file, text)
	if err != nil {
		return nil, err
	}
	i := p.team(name)
	if i < 0 {
		return nil, teamNotFound(name, p.names())
	}
	changed := p.drop(p.find("teams", name))
	want, err := open(file, text)
	if err != nil {
		return nil, err
	}
	want.teams.Content = append(want.teams.Content[:i], want.teams.Content[i+2:]...)
	p.at = p.teams.Content[i].Line
	return p.verified(changed, want.root, "other parts of the file need this team's lines; remove it by hand")
}

// goodTeam reads the team as if it stood alone in a file.
func goodTeam(file, name string, t *yaml.Node) error {
	entry := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{textNode(name), t}}
	text, err := yaml.Marshal(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{textNode("teams"), entry}})
	if err != nil {
		return iris.Errorf(iris.CodeInvalidRequest, "the team cannot be written as YAML").Because(err)
	}
	_, err = parse(file, text)
	return invalid(name, err)
}

// invalid is what is wrong with a team that somebody gave, told without the places in a file.
// Its detail errors lists it for programs, by the fields of the team.
func invalid(name string, err error) error {
	problems, ok := errors.AsType[Problems](err)
	if !ok {
		return err
	}
	var says []string
	var list []map[string]string
	for _, p := range problems {
		says = append(says, strings.TrimPrefix(p.Key+": ", ": ")+p.Text)
		list = append(list, map[string]string{"field": strings.TrimPrefix(p.Key, "teams."+name+"."), "problem": p.Text})
	}
	return iris.Errorf(iris.CodeInvalidRequest, "%s", strings.Join(says, "; ")).With("errors", list)
}

// verified gives the changed text if it says just what is wanted.
func (p *page) verified(changed string, want *yaml.Node, says string) ([]byte, error) {
	text := []byte(changed)
	root, problems := nodes(p.file, text)
	if problems != nil || !same(root, want) {
		return nil, p.refuse(p.at, says)
	}
	return text, nil
}

func (p *page) refuse(line int, says string) error {
	return iris.Errorf(iris.CodeConflict, "%s:%d: %s", p.file, max(line, 1), says)
}

// same compares what two trees say, layout and comments aside.
func same(a, b *yaml.Node) bool {
	if hollow(a) && hollow(b) {
		return true
	}
	if a.Kind != b.Kind || a.Anchor != b.Anchor || a.ShortTag() != b.ShortTag() || a.Value != b.Value || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !same(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}

// hollow reports whether a node says nothing: null, or a mapping of nothing.
func hollow(n *yaml.Node) bool {
	switch n.Kind {
	case yaml.ScalarNode:
		return n.Tag == "!!null"
	case yaml.MappingNode:
		return len(n.Content) == 0 && n.Anchor == ""
	}
	return n.Kind == 0
}
