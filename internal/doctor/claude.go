package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The versions of Claude Code that Iris is tested with: these and what lies between.
const (
	Oldest = "2.1.197"
	Newest = "2.1.330"
)

// patience is how long the CLI may take to say its version. The first run after an
// installation takes seconds.
const patience = 20 * time.Second

// claude runs every CLI that a team uses.
func (d *Doctor) claude(ctx context.Context) []Finding {
	users := map[string][]string{} // teams by path
	paths := []string{}
	if d.ClaudePath != "" {
		paths = append(paths, d.ClaudePath)
	}
	for _, t := range d.Teams {
		if t.ClaudePath != d.ClaudePath {
			users[t.ClaudePath] = append(users[t.ClaudePath], t.Name)
			paths = append(paths, t.ClaudePath)
		}
	}
	slices.Sort(paths)
	var found []Finding
	for _, path := range slices.Compact(paths) {
		f := d.cli(ctx, path)
		if teams := users[path]; len(teams) > 0 {
			f.Subject += " of " + strings.Join(teams, ", ")
		}
		found = append(found, f)
	}
	return found
}

// cli finds a CLI and lets it say its version.
func (d *Doctor) cli(ctx context.Context, path string) Finding {
	const install = "install it (npm install -g @anthropic-ai/claude-code), or say where it is with settings.claudePath"
	fail := func(do, format string, args ...any) Finding {
		return Finding{"claude", Fail, fmt.Sprintf(format, args...), do}
	}
	where, err := exec.LookPath(path)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fail(install, "%s is not in the PATH", path)
	case errors.Is(err, fs.ErrNotExist):
		return fail(install, "there is no %s", path)
	case err != nil:
		return fail(install, "%s cannot be run: %v", path, err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, where, "--version")
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = time.Second
	cmd.Env = append(cmd.Environ(), "DISABLE_AUTOUPDATER=1")
	err = d.Run(cmd)
	switch {
	case ctx.Err() != nil:
		return fail("run it by hand to see what it waits for", "%s --version took longer than %s", where, patience)
	case err != nil:
		return fail("run it by hand to see what it says", "%s --version failed: %v %s", where, err, lastLine(errs.String()))
	}
	v, ok := parseVersion(out.String())
	text := fmt.Sprintf("%s, version %s", where, v)
	oldest, _ := parseVersion(Oldest)
	newest, _ := parseVersion(Newest)
	switch {
	case !ok:
		return Finding{"claude", Warn, fmt.Sprintf("%s does not say a version but %q", where, lastLine(out.String())), "is it Claude Code? " + install}
	case slices.Compare(v[:], oldest[:]) < 0:
		return Finding{"claude", Warn, text + ", is older than " + Oldest + ", the oldest that Iris is tested with", "update it: claude update, or npm install -g @anthropic-ai/claude-code"}
	case v[0] > newest[0]:
		return Finding{"claude", Warn, text + ", is much newer than " + Newest + ", the newest that Iris is tested with", "if something is odd, try an older one or a newer Iris"}
	case slices.Compare(v[:], newest[:]) > 0:
		text += " (newer than the tested " + Newest + ")"
	}
	return Finding{"claude", OK, text, ""}
}

type version [3]int

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

var versionText = regexp.MustCompile(`\b(\d+)\.(\d+)\.(\d+)\b`)

// parseVersion finds the version in "2.1.330 (Claude Code)".
func parseVersion(text string) (v version, ok bool) {
	m := versionText.FindStringSubmatch(text)
	if m == nil {
		return v, false
	}
	for i := range v {
		n, err := strconv.Atoi(m[i+1])
		if err != nil {
			return v, false
		}
		v[i] = n
	}
	return v, true
}

// lastLine is the end of what a program said.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
