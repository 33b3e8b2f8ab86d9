package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// problem makes a PROCESS_ERROR: what is wrong, and what somebody should do about it.
func problem(what, hint string) *iris.Error {
	return iris.Errorf(iris.CodeProcess, "%s: %s", what, hint).With("hint", hint)
}

// Hints that several failures share.
const (
	hintInstall = "install it with `npm install -g @anthropic-ai/claude-code`, or set claudePath to where it is"
	hintPath    = "set claudePath to the `claude` program"
	hintLogin   = "run `claude` on this machine and log in with /login, or give Iris the environment of a valid API key"
	hintAgain   = "ask again"
	hintLater   = "ask again in a few minutes"
)

// noFolder says what is wrong with the team's path.
func noFolder(team iris.Team, err error) *iris.Error {
	what, hint := "is not there", "create it, or correct the team's path in the configuration"
	switch {
	case err == nil:
		what, hint = "is no folder", "correct the team's path in the configuration"
	case !errors.Is(err, fs.ErrNotExist):
		what, hint = "cannot be read", "check its permissions, or correct the team's path in the configuration"
	}
	e := problem(fmt.Sprintf("the folder of team %s %s", team.Name, what), hint).Because(err)
	e.Private = map[string]any{"path": team.Path}
	return e
}

// notExecutable says why the program could not be started at all. Where it was looked for is
// for those who may see processes.
func notExecutable(team iris.Team, err error) *iris.Error {
	e := notStarted(team, err)
	e.Private = map[string]any{"claudePath": team.ClaudePath}
	return e
}

func notStarted(team iris.Team, err error) *iris.Error {
	name := filepath.Base(team.ClaudePath)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, exec.ErrNotFound):
		return problem(fmt.Sprintf("the Claude Code CLI of team %s, %s, was not found", team.Name, name), hintInstall).Because(err)
	case errors.Is(err, fs.ErrPermission):
		return problem(fmt.Sprintf("the Claude Code CLI of team %s, %s, is not executable", team.Name, name), hintPath+", or make it executable (chmod +x)").Because(err)
	case errors.Is(err, syscall.ENOEXEC), errors.Is(err, syscall.EISDIR), errors.Is(err, exec.ErrDot):
		return problem(fmt.Sprintf("the Claude Code CLI of team %s, %s, is no program that this machine can run", team.Name, name), hintPath).Because(err)
	}
	e := problem(fmt.Sprintf("the Claude Code CLI of team %s could not be started", team.Name), "see the log for the cause").Because(err)
	e.Retry = true // too many processes, no memory: it may pass
	return e
}

// startFailed is a start that its context ended.
func startFailed(team iris.Team, cause error) *iris.Error {
	e := problem(fmt.Sprintf("the start of the Claude Code CLI of team %s was broken off", team.Name), hintAgain).Because(cause)
	e.Retry = true
	return e
}

func startTookTooLong(team iris.Team, limit time.Duration) *iris.Error {
	e := problem(fmt.Sprintf("the Claude Code CLI of team %s was not ready after %s", team.Name, span(limit)),
		"run `claude` in the team's folder to see what keeps it, an MCP server perhaps")
	e.Retry = true
	return e
}

// diedAtStart says why the CLI ended instead of getting ready. Called when done is closed.
func (a *Agent) diedAtStart() error {
	cause := strings.TrimSpace(strings.Join(a.fatal, "\n"))
	if cause == "" {
		cause = strings.TrimSpace(a.tail.String())
	}
	what := fmt.Sprintf("the Claude Code CLI of team %s ended at its start", a.team.Name)
	var e *iris.Error
	switch {
	case strings.Contains(cause, "No conversation found"):
		e = problem("the Claude Code CLI no longer knows this conversation", "begin a new session").Because(iris.ErrConversationLost)
	case strings.Contains(cause, "is already in use"):
		e = problem("the Claude Code CLI already has a conversation of this id", hintAgain).Because(iris.ErrConversationTaken)
	case strings.Contains(cause, "cannot be used with root"):
		e = problem(what, "permissionMode bypassPermissions is refused to root; choose another, or run Iris as another user")
	case strings.Contains(cause, "unknown option"):
		e = problem(what+" because it does not know an option that Iris needs", "update it with `npm install -g @anthropic-ai/claude-code`")
	case cause == "":
		e = problem(what+" and said nothing", "run `claude` in the team's folder to see why")
		e.Retry = true
	default:
		e = problem(what+": "+brief(cause), "run `claude` in the team's folder to see more")
		e.Retry = true
	}
	a.exited(e)
	return e
}

// died says that the process has ended when it should not have; kind may name the case.
func (a *Agent) died(when string, kind error) *iris.Error {
	e := problem(fmt.Sprintf("the Claude Code process of team %s died %s (%s)", a.team.Name, when, exitText(a.exit)), hintAgain).Because(errors.Join(kind, a.exit))
	e.Retry = true
	a.exited(e)
	return e
}

// exited adds how the process ended, and, for those who may see processes, its last words.
func (a *Agent) exited(e *iris.Error) {
	exit, failed := errors.AsType[*exec.ExitError](a.exit)
	switch {
	case a.exit == nil:
		e.With("exitCode", 0)
	case failed && exit.Exited():
		e.With("exitCode", exit.ExitCode())
	case failed:
		e.With("signal", strings.TrimPrefix(exit.String(), "signal: "))
	}
	a.private(e)
}

// silent says that the watchdog ran out.
func (a *Agent) silent() *iris.Error {
	e := problem(fmt.Sprintf("the Claude Code process of team %s printed nothing for %s and was interrupted", a.team.Name, span(a.team.SilenceTimeout)), hintAgain)
	e.Retry = true
	return e
}

// notLoggedIn is the failure to authenticate; status is zero when there are no credentials.
func (a *Agent) notLoggedIn(status int, reason string) *iris.Error {
	what := "the Claude Code CLI is not logged in"
	if status != 0 {
		what = fmt.Sprintf("the model's API refuses the credentials of the Claude Code CLI (%d)", status)
	}
	return problem(what, hintLogin).With("apiStatus", status).With("reason", reason)
}

// private adds what only those may see who may see processes.
func (a *Agent) private(e *iris.Error) {
	if end := a.tail.String(); end != "" {
		e.Private = map[string]any{"stderr": end}
	}
}

// failed makes the error of a result that is none. The API's failures come as "success" with
// is_error (api_error_403), so the subtype alone decides only about the CLI's own limits.
func (a *Agent) failed(res result, r *round) *iris.Error {
	said := res.Result
	if said == "" {
		said = strings.Join(res.Errors, "; ")
	}
	var e *iris.Error
	switch res.Subtype {
	case "success":
		if res.aborted() { // by somebody else than us
			e = problem("the agent's turn was interrupted", hintAgain)
		} else {
			e = a.apiFailed(res, r, said)
		}
	case "error_max_turns":
		e = problem("the agent reached its limit of model calls in one turn", "ask for less at once")
	case "error_max_budget_usd":
		e = problem("the agent's budget is spent", "raise the budget of the Claude Code CLI")
	case "error_max_structured_output_retries":
		e = problem("the model did not give its answer the required form", hintAgain)
		e.Retry = true
	default:
		e = problem("the agent broke the turn off", hintAgain)
		if res.NumTurns == 0 { // nothing was done yet
			e.Retry = true
			if dir, err := os.Stat(a.team.Path); err != nil || !dir.IsDir() {
				e = noFolder(a.team, err) // it was deleted meanwhile (cwd_deleted)
			}
		}
	}
	if res.Subtype != "success" { // which a failure of the model's API has, too
		e.With("subtype", res.Subtype)
	}
	if e.Private == nil {
		e.Private = map[string]any{}
	}
	e.Private["said"] = said
	if end := a.tail.String(); end != "" {
		e.Private["stderr"] = end
	}
	return e
}

// apiFailed says what went wrong between the CLI and the model's API.
func (a *Agent) apiFailed(res result, r *round, said string) *iris.Error {
	status := res.APIErrorStatus
	if status == 0 {
		status = r.status // 2.1.197 does not say it of a 529 (api_error_529)
	}
	var e *iris.Error
	switch {
	case res.StopReason == "refusal":
		e = problem("the model refused to answer", "say it in other words, in a new session")
	case r.reason == "authentication_failed" && status != 403 || status == 401:
		e = a.notLoggedIn(status, r.reason)
	case status == 403:
		e = problem("the model's API forbids the request (403)", "check that this account may use the model; "+hintLogin)
	case r.reason == "billing_error":
		e = problem("the account of the Claude Code CLI has no credit left", "add credit, or log in with another account")
	case r.reason == "model_not_found" || status == 404:
		e = problem(fmt.Sprintf("the model %q does not exist, or this account may not use it", a.team.Model), "check the team's model in the configuration")
	case res.TerminalReason == "prompt_too_long":
		e = problem("the conversation is longer than the model can take", "ask in a new session, or send less text")
	case status == 429 || status == 529 || status >= 500 || r.reason == "rate_limit" || r.reason == "overloaded":
		return a.overloaded(status, r.reason, r)
	case strings.Contains(said, "Unable to connect"):
		e = problem("the Claude Code CLI cannot reach the model's API", "check the network, and ANTHROPIC_BASE_URL if it is set")
	case status == 0:
		e = problem("the model's API failed: "+brief(said), hintLater)
	default:
		e = problem(fmt.Sprintf("the model's API refused the request (%d): %s", status, brief(said)), "see the log of the CLI, or ask in other words")
	}
	e.Retry = status == 0 && res.StopReason != "refusal" && (r.reason == "server_error" || r.reason == "unknown")
	return e.With("apiStatus", status).With("reason", r.reason)
}

// retryText says why the CLI calls its model again.
func retryText(l line) string {
	why := "the network"
	if l.ErrorStatus != 0 {
		why = fmt.Sprintf("status %d", l.ErrorStatus)
	}
	if reason := text(l.Error); reason != "" && reason != "unknown" {
		why += ", " + reason
	}
	return fmt.Sprintf("the model's API failed (%s): attempt %d of %d follows", why, l.Attempt, l.MaxRetries)
}

// exitText is how a process ended, in words.
func exitText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// path finds absolute paths, and no URLs and no slash commands.
var path = regexp.MustCompile(`(^|[\s"'` + "`" + `(=])((?:/[^\s"'` + "`" + `()/]+){2,}/?)`)

// brief is what the CLI said in one line, short enough for a message and without paths, which
// are private.
func brief(s string) string {
	s = path.ReplaceAllString(strings.Join(strings.Fields(s), " "), "$1<path>")
	if r := []rune(s); len(r) > 300 {
		s = string(r[:300]) + "…"
	}
	return strings.TrimRight(s, ".:")
}

// span writes a duration as people do: 5m, not 5m0s.
func span(d time.Duration) string {
	s := d.String()
	if d >= time.Minute && d%time.Minute == 0 {
		s = strings.TrimSuffix(s, "0s")
	}
	if d >= time.Hour && d%time.Hour == 0 {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
