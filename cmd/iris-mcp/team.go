package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	sdk "github.com/iris-mcp/go-client"
	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/config"
	"github.com/spf13/cobra"
)

func teamCmd() *cobra.Command {
	return group("team", "Add, list and remove teams", teamAddCmd(), teamListCmd(), teamRemoveCmd())
}

func teamAddCmd() *cobra.Command {
	var description string
	cmd := &cobra.Command{
		Use:   "add NAME PATH",
		Short: "Make a project folder a team",
		Long: `Make a project folder a team: write it into the configuration, where every other byte stays as
it is. A server that runs takes it up at once.`,
		Example: `  iris-mcp team add backend ~/src/backend --description "the REST API"`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return errors.New("a team is a name and a folder: iris-mcp team add NAME PATH")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if !iris.TeamName.MatchString(name) {
				return usage("%q cannot be a team's name: take letters, digits and . _ -, at most 64", name)
			}
			if name == (iris.Caller{Kind: iris.CallerKey}).From() || name == (iris.Caller{Kind: iris.CallerLocal}).From() {
				return usage("%q cannot be a team's name: messages have this word for who is no team", name)
			}
			path, err := filepath.Abs(args[1])
			if err != nil {
				return err
			}
			if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				return usage("there is no folder %s", path)
			} else if err != nil {
				return usage("%w", err)
			} else if !info.IsDir() {
				return usage("%s is not a folder", path)
			}
			// Never the file of the working folder: no server but one started there would know of the team.
			file, err := configFile(cmd, false)
			if err != nil {
				return err
			}
			if err := config.AddTeam(file, name, config.Team{Path: path, Description: description}); err != nil {
				return err
			}
			auditLocal(cmd, iris.AuditTeamCreated, name, map[string]any{"path": path, "file": file})
			fmt.Fprintf(cmd.OutOrStdout(), "team %q is in %s\n", name, file)
			return tellServer(cmd, name, true)
		},
	}
	cmd.Flags().StringVar(&description, "description", "", "what the team is good for; the other teams read it")
	return cmd
}

func teamRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Take a team out of the configuration",
		Long: `Take a team out of the configuration, where every other line stays as it is. The project folder
is not touched, and what was said to the team stays in the history.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New(`which one? iris-mcp team remove NAME; "iris-mcp team list" shows the names`)
			}
			return nil
		},
		ValidArgsFunction: completeTeam,
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := configFile(cmd, true)
			if err != nil {
				return err
			}
			err = config.RemoveTeam(file, args[0])
			if errors.Is(err, fs.ErrNotExist) {
				return fail(exitNotFound, "there is no team %q: there is no %s", args[0], file)
			}
			if err != nil {
				return err
			}
			auditLocal(cmd, iris.AuditTeamRemoved, args[0], map[string]any{"file": file})
			fmt.Fprintf(cmd.OutOrStdout(), "team %q is no longer in %s\n", args[0], file)
			return tellServer(cmd, args[0], false)
		},
	}
}

// completeTeam offers the configured teams as the first argument, and nothing as a later one.
func completeTeam(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := loadConfig(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []cobra.Completion
	for _, t := range c.Teams {
		names = append(names, cobra.CompletionWithDesc(t.Name, oneLine(t.Description, 60)))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// complete offers the words that a flag may have.
func complete(cmd *cobra.Command, flag string, words ...cobra.Completion) {
	// The only error is a flag that is not there, or a second call.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// tellServer says whether a server that runs has taken up the change. It watches the file and
// needs a moment for it.
func tellServer(cmd *cobra.Command, name string, there bool) error {
	client, err := connect(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
	defer cancel()
	for until := time.Now().Add(3 * time.Second); ; {
		all, err := client.Teams.Overview(ctx)
		text := ""
		switch has := err == nil && slices.ContainsFunc(all.Teams, func(t sdk.TeamInfo) bool { return t.Name == name }); {
		case errors.Is(err, sdk.ErrUnreachable):
			text = `no server runs; it counts from the next start ("iris-mcp serve")`
		case err == nil && has == there && all.ConfigError == "":
			text = "the server at " + client.BaseURL() + " has taken it up"
		case err == nil && time.Now().Before(until) && pause(ctx, 50*time.Millisecond):
			continue
		case err != nil:
			text = "the server at " + client.BaseURL() + " does not say whether it has taken it up: " + err.Error()
		case all.ConfigError != "":
			text = "the server at " + client.BaseURL() + " has not taken it up; the configuration has errors, and what it said before is in force:\n" + printable(all.ConfigError)
		default:
			text = "the server at " + client.BaseURL() + " has not taken it up: it uses another configuration, or its log says why"
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
		return err
	}
}

// pause waits, and reports whether the context still lasts.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func teamListCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the teams of the configuration",
		Long:  `Show the teams of the configuration. "iris-mcp status" shows what they are doing.`,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]any{"teams": viewTeams(c.Teams)})
			}
			return printConfigured(cmd.OutOrStdout(), c)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

// teamView is a configured team as it is shown.
type teamView struct {
	Name        string `json:"name"`
	Path        string `json:"path"`
	Description string `json:"description,omitempty"`
}

func viewTeams(teams []iris.Team) []teamView {
	views := make([]teamView, len(teams))
	for i, t := range teams {
		views[i] = teamView{t.Name, t.Path, t.Description}
	}
	return views
}

func printConfigured(w io.Writer, c *config.Config) error {
	if len(c.Teams) == 0 {
		_, err := fmt.Fprintln(w, "no team yet; add one: iris-mcp team add NAME PATH")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TEAM\tPATH\tDESCRIPTION")
	for _, team := range c.Teams {
		fmt.Fprintf(t, "%s\t%s\t%s\n", team.Name, team.Path, oneLine(team.Description, 60))
	}
	return t.Flush()
}
