package config

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	iris "github.com/iris-mcp/iris-mcp"
)

// Live is the configuration of a running server: always a whole one. Its methods may be
// called at once.
type Live struct {
	current atomic.Pointer[Config]
	refused atomic.Pointer[error]

	reading  sync.Mutex // held from reading the file until what it says is in force
	onChange func(*Config)
}

// NewLive begins with a configuration.
func NewLive(c *Config) *Live {
	l := &Live{}
	l.Set(c)
	return l
}

// Get is the configuration now. Whoever needs two things of it that belong together calls it
// once.
func (l *Live) Get() *Config { return l.current.Load() }

// Set puts another configuration in force and forgets a refused one.
func (l *Live) Set(c *Config) {
	l.current.Store(c)
	l.refused.Store(nil)
}

// OnChange has f called with each configuration that comes into force by an edit, one at a
// time; what is slow is not for it. It is called once, before Watch and before any edit.
func (l *Live) OnChange(f func(*Config)) { l.onChange = f }

func (l *Live) tell(c *Config) {
	if l.onChange != nil {
		l.onChange(c)
	}
}

// Team finds a team by its name: TEAM_NOT_FOUND with a suggestion.
func (l *Live) Team(name string) (iris.Team, error) { return l.Get().Team(name) }

// Teams is all of them by name. The slice is the caller's.
func (l *Live) Teams() []iris.Team { return slices.Clone(l.Get().Teams) }

// Keys is the file's keys. The slice is the caller's.
func (l *Live) Keys() []iris.Key { return slices.Clone(l.Get().Keys) }

// LastError says what is wrong with the file since it was last edited; nil when the
// configuration in force is what the file says.
func (l *Live) LastError() error {
	if err := l.refused.Load(); err != nil {
		return *err
	}
	return nil
}

// laterOnly names what changed between two configurations and takes a new start to be true.
func laterOnly(was, is *Config) []string {
	var keys []string
	for _, k := range []struct {
		key     string
		changed bool
	}{
		{"api.enabled", was.API.Enabled != is.API.Enabled},
		{"api.host", was.API.Host != is.API.Host},
		{"api.port", was.API.Port != is.API.Port},
		{"api.tls", was.API.TLS != is.API.TLS}, // other files; what is in them may change
	} {
		if k.changed {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// names lists the teams of a configuration, for the log.
func names(c *Config) string {
	all := make([]string, len(c.Teams))
	for i, t := range c.Teams {
		all[i] = t.Name
	}
	return strings.Join(all, " ")
}
