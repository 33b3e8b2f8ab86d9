package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	iris "github.com/iris-mcp/iris-mcp"
)

// AddTeam writes a team of these settings into the file and puts it in force: whoever asks
// after it returned finds the team. CONFLICT when there is such a team, when the file has no
// place for it, may not be written or has errors; INVALID_REQUEST when a setting is wrong. A
// path must be whole, of a folder that is there, and must not give away Iris's own files.
func (l *Live) AddTeam(name string, settings []iris.Setting) (iris.Team, error) {
	if _, err := l.Team(name); err == nil {
		return iris.Team{}, iris.Errorf(iris.CodeConflict, "there is a team %q already; PATCH changes it", name)
	}
	return l.edit(name, settings, nil, func(file string, text []byte) ([]byte, error) {
		return addTeam(file, text, name, teamNode(settings))
	})
}

// ChangeTeam changes these settings of a team in the file, and nothing else of it, and puts
// them in force. It asks may, if that is not nil, about the team as it is, and nobody changes
// the team in between. TEAM_NOT_FOUND, may's error, and as AddTeam.
func (l *Live) ChangeTeam(name string, settings []iris.Setting, may func(is iris.Team) error) (iris.Team, error) {
	return l.edit(name, settings, may, func(file string, text []byte) ([]byte, error) {
		return changeTeam(file, text, name, settings)
	})
}

// RemoveTeam takes a team out of the file and out of force. TEAM_NOT_FOUND; CONFLICT as AddTeam.
func (l *Live) RemoveTeam(name string) error {
	_, err := l.edit(name, nil, nil, func(file string, text []byte) ([]byte, error) {
		return removeTeam(file, text, name)
	})
	return err
}

// What may be written from a distance: nobody is to fill the file until it is none any more.
const (
	mostTeams = 1000
	mostText  = maxFile / 4
)

// edit changes the file and puts the result in force, both or neither. It gives the team as it
// is then, the zero one if it is gone.
func (l *Live) edit(name string, settings []iris.Setting, may func(iris.Team) error, change func(file string, text []byte) ([]byte, error)) (iris.Team, error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	file := l.Get().File
	for _, s := range settings {
		if path, ok := s.Value.(string); ok && s.Key == "path" {
			if err := goodFolder(file, path); err != nil {
				return iris.Team{}, err
			}
		}
	}
	var is *Config
	err := edit(file, true, func(file string, text []byte) ([]byte, error) {
		before, err := parse(file, text)
		if err != nil {
			return nil, iris.Errorf(iris.CodeConflict, "%s has errors, so what it said before is in force; correct it first: `iris-mcp config check` says what is wrong", file).Because(err)
		}
		if was, err := before.Team(name); err == nil && may != nil {
			if err := may(was); err != nil {
				return nil, err
			}
		}
		was := len(text)
		text, err = change(file, text)
		if _, there := before.Team(name); iris.CodeOf(err) == iris.CodeTeamNotFound && there == nil {
			err = iris.Errorf(iris.CodeConflict, "%s has this team by an anchor; change it by hand", file)
		}
		if err != nil {
			return nil, err
		}
		if len(text) > was && len(text) > mostText || len(before.Teams) >= mostTeams && len(settings) > 0 && !slices.ContainsFunc(before.Teams, func(t iris.Team) bool { return t.Name == name }) {
			return nil, iris.Errorf(iris.CodeConflict, "%s holds as much as it may from a distance, %d teams or %d KiB; whoever has it can write more into it", file, mostTeams, mostText>>10)
		}
		is, err = parse(file, text)
		return text, invalid(name, err)
	})
	if err != nil {
		return iris.Team{}, unplaced(file, err)
	}
	l.Set(is)
	l.tell(is)
	team, _ := is.Team(name)
	return team, nil
}

// unplaced is an error for a caller who is not to know where the file is; Private says it.
func unplaced(file string, err error) error {
	e, ok := errors.AsType[*iris.Error](err)
	if !ok || !strings.Contains(e.Message, file) {
		return err
	}
	told := *e
	told.Message = strings.ReplaceAll(e.Message, file, filepath.Base(file))
	told.Private = map[string]any{"file": file}
	return &told
}

// teamNode writes settings as a team, in the order of Team's fields.
func teamNode(settings []iris.Setting) *yaml.Node {
	values, env := map[string]any{}, map[string]string{}
	for _, s := range settings {
		name, variable := strings.CutPrefix(s.Key, "env.")
		switch text, isText := s.Value.(string); {
		case variable && isText:
			env[name] = text
			values["env"] = env
		case !variable && s.Value != nil:
			values[s.Key] = s.Value
		}
	}
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, key := range keysOf(reflect.TypeFor[Team]()) {
		if value, ok := values[key]; ok {
			n.Content = append(n.Content, textNode(key), toNode(value))
		}
	}
	return n
}

// goodFolder refuses a path that somebody at a distance may not give to a team: whoever may
// ask a team reads what lies in its folder.
func goodFolder(file, text string) error {
	bad := func(format string, args ...any) error {
		problem := fmt.Sprintf(format, args...)
		return iris.Errorf(iris.CodeInvalidRequest, "path: %s", problem).
			With("errors", []map[string]string{{"field": "path", "problem": problem}})
	}
	if text != "~" && !strings.HasPrefix(text, "~/") && !filepath.IsAbs(text) {
		return bad("%q must be a whole path, from / or ~/", text)
	}
	folder, err := absolute(text)
	if err != nil {
		return bad("%s", err)
	}
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return bad("there is no folder %s on the machine of Iris", text)
	}
	if says := exposes(folder, file); says != "" {
		return bad("%s %s; whoever may ask the team could read it", text, says)
	}
	return nil
}

// exposes says which of Iris's own files a folder gives away: the data folder, with the local
// user's key, or the configuration, with its secrets. Empty if none.
func exposes(folder, file string) string {
	if within(file, folder) || within(filepath.Dir(file), folder) {
		return cmp.Or(exposesHome(folder), "holds the configuration of Iris")
	}
	return exposesHome(folder)
}

func exposesHome(folder string) string {
	home, err := Home()
	switch {
	case err != nil:
		return ""
	case within(home, folder):
		return "holds the data folder of Iris"
	case within(folder, home):
		return "lies in the data folder of Iris"
	}
	return ""
}

// within reports whether a path is, or lies somewhere in, a folder, as the file system knows
// them: symlinks and the case of letters do not matter. What is not there lies nowhere.
func within(path, folder string) bool {
	there, err := os.Stat(folder)
	if err != nil {
		return false
	}
	at, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	for {
		if here, err := os.Stat(at); err == nil && os.SameFile(here, there) {
			return true
		}
		up := filepath.Dir(at)
		if up == at {
			return false
		}
		at = up
	}
}
