package iris

import (
	"regexp"
	"time"
)

// TeamName is the form of a team's name. Whatever does not match it names no team, so a name
// from outside never reaches the file system.
var TeamName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// PermissionPolicy says what becomes of a tool call for which the agent needs leave.
type PermissionPolicy string

const (
	PermissionsAsk     PermissionPolicy = "ask"     // somebody decides; denied when nobody can
	PermissionsDeny    PermissionPolicy = "deny"    // denied at once
	PermissionsAllow   PermissionPolicy = "allow"   // allowed, and logged
	PermissionsForward PermissionPolicy = "forward" // put to whoever started the chain of asks
)

// Team is a project folder that can be asked, as the configuration describes it: validated,
// with every default filled in. It is a value; nobody changes one that is shared.
type Team struct {
	Name        string
	Path        string // absolute; symlinks as the user wrote them
	Description string
	Color       string
	Model       string // "" is the CLI's own choice

	Permissions        PermissionPolicy
	PermissionMode     string // the CLI's --permission-mode; "" is its default
	AllowedTools       []string
	DisallowedTools    []string
	AppendSystemPrompt string
	Env                map[string]string // added last to the process's environment
	Withheld           []string          // variables of Iris that the process does not get, for they are Iris's secrets

	MaxProcesses  int // processes of this team at once, at least 1
	ParallelTasks int // tasks of this team at once, at least 1
	Warm          int // initialised processes kept ready for new sessions

	ClaudePath        string        // the CLI: a name to be found in PATH, or an absolute path
	TurnTimeout       time.Duration // a turn is interrupted after this
	SilenceTimeout    time.Duration // …or when the CLI printed nothing for this long
	IdleTimeout       time.Duration // an idle process ends after this
	PermissionTimeout time.Duration // an open permission is denied after this
}

// Setting is one setting of a team on its way into the configuration, under the name that it
// has there: description, or env.NAME for a variable. Value is a string, an int, a
// time.Duration, a []string or a map[string]string; nil takes the setting out.
type Setting struct {
	Key   string
	Value any
}
