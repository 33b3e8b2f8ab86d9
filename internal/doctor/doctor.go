// Package doctor looks for what would keep Iris from working: the CLI, the folders, the port,
// who pays. It changes nothing and reads no credential: of a variable or a login it asks
// whether it is there, never what is in it.
package doctor

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// Level says how bad a finding is.
type Level string

const (
	OK   Level = "ok"
	Warn Level = "warn" // works, but maybe not as wished
	Fail Level = "fail" // something will not work
)

// Finding is what one look showed.
type Finding struct {
	Subject string `json:"subject"` // what was looked at: "claude", "team backend"
	Level   Level  `json:"level"`
	Text    string `json:"text"`
	Do      string `json:"do,omitempty"` // what to do about it
}

// Doctor is what is to be examined, and by what means.
type Doctor struct {
	Home     string   // the data folder; it may not exist yet
	File     string   // the configuration's
	Problems []string // why it was refused; then what follows is empty
	Warnings []string

	Teams      []iris.Team
	ClaudePath string // of teams that name none
	Address    string // host:port to listen on; empty when the HTTP side is off
	Unkeyed    string // why the server would not open that address, which wants an API key to exist; empty: it would
	Socket     string // where the owner of the data folder would listen first
	Running    string // the base URL that a server has left in the data folder, or empty

	// Web carries the question to a server whether it is there; nil is http.DefaultTransport.
	Web http.RoundTripper
	// Run runs a command to its end.
	Run func(*exec.Cmd) error
	// Getenv is os.Getenv, if nil.
	Getenv func(string) string
}

// Examine looks at everything, in the order in which a person would mend it. It takes some
// seconds at most.
func (d *Doctor) Examine(ctx context.Context) []Finding {
	if d.Getenv == nil {
		d.Getenv = os.Getenv
	}
	return slices.Concat(
		d.configuration(),
		d.dataFolder(),
		d.claude(ctx),
		d.payers(),
		d.teams(),
		d.server(ctx, &http.Client{Timeout: 2 * time.Second, Transport: d.Web}),
	)
}

// Worst is the worst level among the findings.
func Worst(findings []Finding) Level {
	worst := OK
	for _, f := range findings {
		if f.Level == Fail || f.Level == Warn && worst == OK {
			worst = f.Level
		}
	}
	return worst
}
