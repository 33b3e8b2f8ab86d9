package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

// FileName is the configuration's name in the data folder and in the working folder.
const FileName = "iris-config.yaml"

// maxFile is more than any configuration needs.
const maxFile = 4 << 20

// Home is the data folder: $IRIS_HOME, else ~/.iris; absolute. It need not exist.
func Home() (string, error) {
	dir := cmp.Or(os.Getenv("IRIS_HOME"), "~/.iris")
	home, err := absolute(dir)
	if err != nil {
		return "", fmt.Errorf("find the data folder %s: %w; set IRIS_HOME to a full path", dir, err)
	}
	return home, nil
}

// absolute makes a path from outside the file absolute. A ~ is the home folder there too: no
// shell stands between Iris and the environment that an MCP client is configured to give.
func absolute(path string) (string, error) {
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || rest[0] == '/') {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("the home folder is not known: %w", err)
		}
		return filepath.Join(home, rest), nil
	}
	return filepath.Abs(path)
}

// Find gives the absolute path of the configuration: the --config flag, else
// $IRIS_CONFIG_PATH, else iris-config.yaml in the data folder. A file of that name in the
// working folder comes after these, and only for a command typed at a terminal: it names
// programs to run, and whoever starts a server inside a project did not write it. Where
// there is none at all, it is the one in the data folder, which Load takes as empty and
// AddTeam makes.
func Find(flag string, terminal bool) (string, error) {
	if flag != "" {
		return absolute(flag)
	}
	if file := os.Getenv("IRIS_CONFIG_PATH"); file != "" {
		return absolute(file)
	}
	home, err := Home()
	if err != nil {
		return "", err
	}
	file := filepath.Join(home, FileName)
	if _, err := os.Stat(file); terminal && errors.Is(err, fs.ErrNotExist) {
		if here, err := filepath.Abs(FileName); err == nil {
			if info, err := os.Stat(here); err == nil && info.Mode().IsRegular() {
				return here, nil
			}
		}
	}
	return file, nil
}

// Load reads and checks the file. What is wrong with it comes back as Problems, all of it.
// Only the file in the data folder may be missing: then no team is configured.
func Load(file string) (*Config, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	text, err := readFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		home, homeErr := Home()
		if homeErr != nil || file != filepath.Join(home, FileName) {
			return nil, fmt.Errorf("there is no %s", file)
		}
		c, err := parse(file, nil)
		if err == nil {
			c.Warnings = append(c.Warnings, "no team is configured; add one with `iris-mcp team add NAME PATH`")
		}
		return c, err
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return parse(file, text)
}

func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s is larger than %d MiB: it is no configuration", file, maxFile>>20)
	}
	return text, err
}

// parse makes a Config of the text of a file.
func parse(file string, text []byte) (*Config, error) {
	root, problems := nodes(file, text)
	if problems != nil {
		return nil, problems
	}
	r := newReader(file)
	doc := defaults()
	r.read(root, reflect.ValueOf(&doc).Elem(), "", path{})
	c := r.check(&doc)
	if len(r.problems) > 0 {
		return nil, r.problems.sorted()
	}
	c.text = text
	return c, nil
}

// nodes parses the text to the node of its one document's top; of an empty file, to a node of
// no kind.
func nodes(file string, text []byte) (root *yaml.Node, problems Problems) {
	if problems := foreign(file, text); problems != nil {
		return nil, problems
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return &yaml.Node{}, nil
	case err != nil:
		return nil, syntax(file, err)
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		return nil, Problems{{File: file, Line: second.Line, Column: second.Column,
			Text: "a second document begins here (after ---); put everything into one"}}
	case !errors.Is(err, io.EOF):
		return nil, syntax(file, err)
	}
	if len(doc.Content) == 0 {
		return &yaml.Node{}, nil
	}
	return doc.Content[0], nil
}
