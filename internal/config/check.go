package config

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	iris "github.com/iris-mcp/iris-mcp"
)

// check looks at what single values cannot show, and makes the Config. It notes problems; the
// Config is good only when there are none.
func (r *reader) check(doc *document) *Config {
	c := &Config{File: r.file, API: doc.API, Settings: doc.Settings, Queue: doc.Queue, Webhooks: doc.Webhooks}
	r.api(c)
	r.claude("settings.claudePath", &c.Settings.ClaudePath)
	r.webhooks(&c.Webhooks)
	for _, name := range slices.Sorted(maps.Keys(doc.Teams)) {
		c.Teams = append(c.Teams, r.team(c, name, doc.Teams[name]))
	}
	slices.Sort(r.secrets)
	r.secrets = slices.Compact(r.secrets)
	for i := range c.Teams {
		c.Teams[i].Withheld = r.secrets
	}
	r.keys(c)
	r.notYet(c)
	return c
}

// warn adds a warning about a key, with the line that it is about.
func (r *reader) warn(c *Config, key, format string, args ...any) {
	where := r.file
	if s := r.nearest(key); s != nil {
		where = fmt.Sprintf("%s:%d", r.file, s.line)
	}
	c.Warnings = append(c.Warnings, fmt.Sprintf("%s: %s: %s", where, key, fmt.Sprintf(format, args...)))
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$`)

func (r *reader) api(c *Config) {
	a := &c.API
	host := strings.TrimSuffix(strings.TrimPrefix(a.Host, "["), "]")
	switch {
	case host == "":
		r.wrong("api.host", "is empty, which would mean every network; write 127.0.0.1, or 0.0.0.0 if that is meant")
	case strings.Contains(host, ":") && !isAddress(host):
		r.wrong("api.host", "%q is no address: the port goes into api.port", a.Host)
	case !isAddress(host) && !hostName.MatchString(host):
		r.wrong("api.host", "%q is neither an address nor a host name", a.Host)
	}
	a.Host = host

	r.together("api.tls", "cert", a.TLS.Cert, "key", a.TLS.Key)
	for key, file := range map[string]*string{"api.tls.cert": &a.TLS.Cert, "api.tls.key": &a.TLS.Key} {
		if *file != "" {
			*file = r.absolute(key, *file)
		}
	}
	for i, origin := range a.CORS.Origins {
		u, err := url.Parse(origin)
		if origin != "*" && (err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != origin) {
			r.wrong(fmt.Sprintf("api.cors.origins[%d]", i), "%q is no origin: write https://host or https://host:port, without a path", origin)
		}
	}
	r.jwt(c)
}

func isAddress(host string) bool {
	_, err := parsePrefix(host)
	return err == nil && !strings.Contains(host, "/")
}

func (r *reader) jwt(c *Config) {
	a, j := &c.API, &c.API.Auth.JWT
	switch {
	case j.Secret != "" && j.JWKS != "":
		r.wrong("api.auth.jwt", "takes secret or jwks, not both")
	case j.Secret != "" && len(j.Secret) < 32:
		r.wrong("api.auth.jwt.secret", "must be at least 32 characters, or it can be guessed; `openssl rand -base64 32` makes one")
	case a.Auth.Type == "jwt" && j.Secret == "" && j.JWKS == "":
		r.wrong("api.auth.type", "jwt needs api.auth.jwt.secret or api.auth.jwt.jwks")
	}
	if j.JWKS != "" && !strings.HasPrefix(j.JWKS, "https://") {
		if strings.Contains(j.JWKS, "://") {
			r.wrong("api.auth.jwt.jwks", "%q must be an https address or a file", j.JWKS)
			return
		}
		j.JWKS = r.absolute("api.auth.jwt.jwks", j.JWKS)
	}
	if u, err := url.Parse(j.JWKS); strings.HasPrefix(j.JWKS, "https://") && (err != nil || u.Host == "" || u.User != nil) {
		r.wrong("api.auth.jwt.jwks", "must be an https address, without a name or a password in it")
	}
	switch {
	case a.Auth.Type != "jwt" && *j != (JWT{}):
		r.warn(c, "api.auth.jwt", "counts only with api.auth.type: jwt")
	case a.Auth.Type == "jwt" && j.JWKS != "" && j.Audience == "":
		r.warn(c, "api.auth.jwt", "has no audience, so a token that this issuer has made for another service is good here too")
	}
}

// together demands both or none.
func (r *reader) together(block, a, aValue, b, bValue string) {
	if (aValue == "") != (bValue == "") {
		missing, there := b, a
		if aValue == "" {
			missing, there = a, b
		}
		r.wrong(block+"."+there, "needs %s.%s beside it", block, missing)
	}
}

func (r *reader) webhooks(w *Webhooks) {
	if w.Secret == "" {
		return
	}
	encoded, ok := strings.CutPrefix(string(w.Secret), "whsec_")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(raw) < 24 || len(raw) > 64 {
		r.wrong("webhooks.secret", "must be whsec_ and the base64 of 24 to 64 random bytes; leave it out and Iris makes one")
	}
}

// absolute makes a path of the file absolute. It is relative to the file's folder as the file
// was named, not to where a symlink of it leads.
func (r *reader) absolute(key, text string) string {
	switch {
	case text == "~" || strings.HasPrefix(text, "~/"):
		path, err := absolute(text)
		if err != nil {
			r.wrong(key, "%s; write the path in full", err)
		}
		return path
	case strings.HasPrefix(text, "~"):
		r.wrong(key, "%q: only ~ and ~/… are known; write the path in full, or ./%s for a folder of that name", text, text)
		return text
	case filepath.IsAbs(text):
		return filepath.Clean(text)
	}
	return filepath.Join(filepath.Dir(r.file), text)
}

// claude makes a path absolute; a name alone is left to be found in PATH.
func (r *reader) claude(key string, value *string) {
	if strings.ContainsRune(*value, filepath.Separator) || strings.HasPrefix(*value, "~") {
		*value = r.absolute(key, *value)
	}
}

var (
	color   = regexp.MustCompile(`^(?:#[0-9A-Fa-f]{3}|#[0-9A-Fa-f]{6}|[A-Za-z]{1,32})$`)
	envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (r *reader) team(c *Config, name string, t Team) iris.Team {
	key := "teams." + name
	if !iris.TeamName.MatchString(name) {
		r.wrong(key, "%q cannot name a team: letters, digits, dots, dashes and underscores, at most 64, the first a letter or digit", name)
	}
	t.Path = r.folder(c, key+".path", t.Path)
	r.claude(key+".claudePath", &t.ClaudePath)
	if t.Color != "" && !color.MatchString(t.Color) {
		r.wrong(key+".color", "%q is no color: write a name, or \"#1e90ff\" in quotes", t.Color)
	}
	if strings.HasPrefix(t.Model, "-") {
		r.wrong(key+".model", "%q is no model: it begins with a dash, as options of Claude Code do", t.Model)
	}
	r.tools(key+".allowedTools", t.AllowedTools)
	r.tools(key+".disallowedTools", t.DisallowedTools)
	for name := range t.Env {
		if !envName.MatchString(name) {
			r.wrong(key+".env."+name, "%q cannot name an environment variable: letters, digits and underscores", name)
		}
	}
	base, s := teamDefaults(), c.Settings
	t.MaxProcesses = cmp.Or(t.MaxProcesses, base.MaxProcesses)
	if t.Warm > t.MaxProcesses {
		r.wrong(key+".warm", "is %d, but the team may have no more than %d processes (maxProcesses)", t.Warm, t.MaxProcesses)
	}
	return iris.Team{
		Name:        name,
		Path:        t.Path,
		Description: t.Description,
		Color:       t.Color,
		Model:       t.Model,

		Permissions:        cmp.Or(t.Permissions, base.Permissions),
		PermissionMode:     t.PermissionMode,
		AllowedTools:       t.AllowedTools,
		DisallowedTools:    t.DisallowedTools,
		AppendSystemPrompt: t.AppendSystemPrompt,
		Env:                t.Env,

		MaxProcesses:  t.MaxProcesses,
		ParallelTasks: cmp.Or(t.ParallelTasks, base.ParallelTasks),
		Warm:          t.Warm,

		ClaudePath:        cmp.Or(t.ClaudePath, s.ClaudePath),
		TurnTimeout:       cmp.Or(t.TurnTimeout, s.TurnTimeout),
		SilenceTimeout:    cmp.Or(t.SilenceTimeout, s.SilenceTimeout),
		IdleTimeout:       cmp.Or(t.IdleTimeout, s.IdleTimeout),
		PermissionTimeout: cmp.Or(t.PermissionTimeout, s.PermissionTimeout),
	}
}

// tools refuses what cannot be the name of a tool, and what Claude Code could take for another
// of its options.
func (r *reader) tools(key string, names []string) {
	for i, name := range names {
		switch at := fmt.Sprintf("%s[%d]", key, i); {
		case strings.TrimSpace(name) == "":
			r.wrong(at, "is blank; name a tool, as in [\"Read\", \"Bash(git log:*)\"]")
		case strings.HasPrefix(strings.TrimSpace(name), "-"):
			r.wrong(at, "%q is no tool: it begins with a dash, as options of Claude Code do", name)
		}
	}
}

// folder makes a team's path absolute. A folder that is not there now may be there later (a
// drive, a checkout), so it is a warning; a file never becomes a folder.
func (r *reader) folder(c *Config, key, text string) string {
	if text == "" {
		if s := r.at[key]; s != nil && s.text == "~" {
			r.wrong(key, "a lone ~ is nothing in YAML; put it into quotes, or write ~/")
		} else {
			r.wrong(key, "is missing: the team's project folder")
		}
		return ""
	}
	folder := r.absolute(key, text)
	switch info, err := os.Stat(folder); {
	case errors.Is(err, fs.ErrNotExist):
		r.warn(c, key, "there is no folder %s", folder)
	case err != nil:
		r.warn(c, key, "the folder cannot be looked at: %s", err)
	case !info.IsDir():
		r.wrong(key, "%s is a file; a team is a folder", folder)
	default:
		if says := exposesHome(folder); says != "" {
			r.warn(c, key, "%s %s: whoever may ask the team can read the local user's key there", folder, says)
		}
	}
	return folder
}
