// Package config makes iris-config.yaml one validated value: every default filled in, every
// ${VAR} expanded, every path absolute. What is wrong with the file is said all at once, each
// problem with its line, column and key. A running server follows the file whole or not at
// all (Live), and commands change it without touching the bytes around the change (AddTeam).
//
// The struct types here are the file's schema: the reader walks them beside the YAML nodes,
// and docs/configuration.md is held to them by a test. A field's tags say:
//
//	yaml      its key; fields of an embedded struct stand beside the others
//	min, max  bounds of a whole number (durations and sizes are always more than zero)
//	oneof     the words it may be
package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// Config is the whole configuration. It is made by Load and never changed afterwards, so it
// may be shared freely.
type Config struct {
	File string // absolute; it may not exist, see Load

	API      API
	Settings Settings
	Queue    Queue
	Webhooks Webhooks

	Teams []iris.Team // by name; defaults and settings filled in
	Keys  []iris.Key  // those of api.auth.keys, expired ones too

	Warnings []string // what is odd but no error, for a person; with file and line

	text []byte // of the file; nil when there is none
}

// document is the file, top level.
type document struct {
	API      API             `yaml:"api"`
	Settings Settings        `yaml:"settings"`
	Teams    map[string]Team `yaml:"teams"`
	Queue    Queue           `yaml:"queue"`
	Webhooks Webhooks        `yaml:"webhooks"`
}

// API is the HTTP side.
type API struct {
	Enabled        bool           `yaml:"enabled"`
	Host           string         `yaml:"host"`
	Port           int            `yaml:"port" min:"0" max:"65535"` // 0 takes any free one
	Session        string         `yaml:"session" oneof:"fresh standing"`
	MaxBodyBytes   Bytes          `yaml:"maxBodyBytes"`
	Auth           Auth           `yaml:"auth"`
	CORS           CORS           `yaml:"cors"`
	TLS            TLS            `yaml:"tls"`
	TrustedProxies []netip.Prefix `yaml:"trustedProxies"`
}

// Address is what to listen on.
func (a API) Address() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// Standing reports whether messages of API keys without a session share one per key and
// team. A key of the file has its own word on it already (iris.Key.Standing).
func (a API) Standing() bool { return a.Session == "standing" }

// Auth says which credentials are good.
type Auth struct {
	Type string `yaml:"type" oneof:"bearer basic jwt"`
	Keys []Key  `yaml:"keys"`
	JWT  JWT    `yaml:"jwt"`
}

// Key is an API key as the file has it. After Load, Key is empty and KeyHash filled in.
type Key struct {
	Name      string       `yaml:"name"`
	Key       Secret       `yaml:"key"`
	KeyHash   string       `yaml:"keyHash"`
	Scopes    []iris.Scope `yaml:"scopes"`
	Teams     []string     `yaml:"teams"`
	Session   string       `yaml:"session" oneof:"fresh standing"`
	ExpiresAt time.Time    `yaml:"expiresAt"`
	RateLimit RateLimit    `yaml:"rateLimit"`
	Tier      string       `yaml:"tier" oneof:"standard premium enterprise"`
}

// RateLimit allows so many requests in any window; zero is none given.
type RateLimit struct {
	Requests int           `yaml:"requests" min:"1"`
	Window   time.Duration `yaml:"window"`
}

// JWT says which tokens are good.
type JWT struct {
	Secret   Secret `yaml:"secret"`
	JWKS     string `yaml:"jwks"` // an https address or an absolute path
	Issuer   string `yaml:"issuer"`
	Audience string `yaml:"audience"`
}

// CORS says which web pages may call the API.
type CORS struct {
	Origins []string `yaml:"origins"`
}

// TLS names the PEM files of the certificate; absolute paths after Load.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Settings is about running teams.
type Settings struct {
	PerTeam `yaml:",inline"`

	MaxProcesses  int           `yaml:"maxProcesses" min:"1"` // of all teams together
	MaxDepth      int           `yaml:"maxDepth" min:"1"`     // of a chain of asks
	ShutdownGrace time.Duration `yaml:"shutdownGrace"`
	LogLevel      string        `yaml:"logLevel" oneof:"debug info warn error"`
}

// PerTeam are the settings that a team may have its own way. See iris.Team.
type PerTeam struct {
	ClaudePath        string        `yaml:"claudePath"`
	TurnTimeout       time.Duration `yaml:"turnTimeout"`
	SilenceTimeout    time.Duration `yaml:"silenceTimeout"`
	IdleTimeout       time.Duration `yaml:"idleTimeout"`
	PermissionTimeout time.Duration `yaml:"permissionTimeout"`
}

// Team is a team as the file has it; zero values are the defaults. See iris.Team.
type Team struct {
	Path        string `yaml:"path"` // relative to the file's folder; ~ is the home folder
	Description string `yaml:"description"`
	Color       string `yaml:"color"`
	Model       string `yaml:"model"`

	Permissions        iris.PermissionPolicy `yaml:"permissions" oneof:"ask allow deny forward"`
	PermissionMode     string                `yaml:"permissionMode" oneof:"default acceptEdits plan dontAsk bypassPermissions auto manual"`
	AllowedTools       []string              `yaml:"allowedTools"`
	DisallowedTools    []string              `yaml:"disallowedTools"`
	AppendSystemPrompt string                `yaml:"appendSystemPrompt"`
	Env                map[string]string     `yaml:"env"`

	MaxProcesses  int `yaml:"maxProcesses" min:"1"`
	ParallelTasks int `yaml:"parallelTasks" min:"1"`
	Warm          int `yaml:"warm" min:"0"`

	PerTeam `yaml:",inline"`
}

// Queue is about jobs.
type Queue struct {
	Backend       string        `yaml:"backend" oneof:"embedded"`
	MaxConcurrent int           `yaml:"maxConcurrent" min:"1"` // turns at once, of all teams
	MaxWaiting    int           `yaml:"maxWaiting" min:"1"`    // jobs; one more is QUEUE_FULL
	MaxAttempts   int           `yaml:"maxAttempts" min:"1"`   // of a task
	Backoff       time.Duration `yaml:"backoff"`               // before the second attempt
	Keep          time.Duration `yaml:"keep"`                  // finished messages, for so long
	KeepBytes     Bytes         `yaml:"keepBytes"`             // …and so many bytes of record; 0: any
}

// Webhooks is about telling others of finished tasks.
type Webhooks struct {
	AllowPrivate bool            `yaml:"allowPrivate"` // also private and loopback addresses
	Secret       Secret          `yaml:"secret"`       // whsec_…; empty: made at first start
	RetryDelays  []time.Duration `yaml:"retryDelays"`
	Timeout      time.Duration   `yaml:"timeout"`
}

// defaults is what the file says when it says nothing.
func defaults() document {
	return document{
		API: API{
			Enabled:      true,
			Host:         "127.0.0.1",
			Port:         3100,
			Session:      "fresh",
			MaxBodyBytes: 1 << 20,
			Auth:         Auth{Type: "bearer"},
		},
		Settings: Settings{
			PerTeam: PerTeam{
				ClaudePath:        "claude",
				TurnTimeout:       time.Hour,
				SilenceTimeout:    5 * time.Minute,
				IdleTimeout:       10 * time.Minute,
				PermissionTimeout: time.Minute,
			},
			MaxProcesses:  10,
			MaxDepth:      4,
			ShutdownGrace: 20 * time.Second,
			LogLevel:      "info",
		},
		Queue: Queue{
			Backend:       "embedded",
			MaxConcurrent: 10,
			MaxWaiting:    10000,
			MaxAttempts:   3,
			Backoff:       time.Second,
			Keep:          30 * 24 * time.Hour,
		},
		Webhooks: Webhooks{
			RetryDelays: []time.Duration{
				5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour,
			},
			Timeout: 15 * time.Second,
		},
	}
}

// teamDefaults is what a team says when it says nothing, but for what settings say.
func teamDefaults() Team {
	return Team{Permissions: iris.PermissionsAsk, MaxProcesses: 4, ParallelTasks: 1}
}

// Team finds a team by its name: TEAM_NOT_FOUND with a suggestion.
func (c *Config) Team(name string) (iris.Team, error) {
	names := make([]string, 0, len(c.Teams))
	for _, t := range c.Teams {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return iris.Team{}, teamNotFound(name, names)
}

func teamNotFound(name string, names []string) *iris.Error {
	err := iris.Errorf(iris.CodeTeamNotFound, "team %q does not exist", name)
	if near := iris.Closest(name, names); near != "" {
		err.Message += fmt.Sprintf("; did you mean %q?", near)
	}
	return err
}

// CheckBind refuses to open the API to other machines while nobody has a key to it: a host
// that is not loopback, no valid key in the file nor, as the caller knows, in the store, and
// no issuer of tokens.
func (c *Config) CheckBind(hasStoreKeys bool) error {
	if !c.API.Enabled || hasStoreKeys || loopback(c.API.Host) {
		return nil
	}
	if slices.ContainsFunc(c.Keys, iris.Key.Valid) || c.API.Auth.Type == "jwt" {
		return nil
	}
	return fmt.Errorf("api.host is %q, which other machines can reach, but there is no API key: make one with `iris-mcp api-key create --name NAME --scope \"*\"`, or remove api.host", c.API.Host)
}

// loopback reports whether only this machine can reach the host. What is no address and not
// localhost may be anything.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
