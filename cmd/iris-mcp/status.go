package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	sdk "github.com/iris-mcp/go-client"
	"github.com/spf13/cobra"
)

func statusCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "status [TEAM]",
		Short:             "Show what the teams are doing",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeTeam,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				team, err := client.Teams.Team(args[0]).Status(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), team)
				}
				return printTeam(cmd.OutOrStdout(), team)
			}
			all, err := client.Teams.Overview(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), all)
			}
			if err := printTeams(cmd.OutOrStdout(), client.BaseURL(), all.Teams); err != nil || all.ConfigError == "" {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "\nThe configuration has errors; what it said before is in force:\n%s\n", printable(all.ConfigError))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return clientFlags(cmd)
}

func printTeams(w io.Writer, url string, teams []sdk.TeamInfo) error {
	if len(teams) == 0 {
		_, err := fmt.Fprintf(w, "Iris runs at %s and has no team yet; add one: iris-mcp team add NAME PATH\n", url)
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TEAM\tSTATUS\tRUNNING\tWAITING\tDESCRIPTION")
	for _, team := range teams {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\n", team.Name, team.Status, team.Queue.Running, team.Queue.Waiting, oneLine(team.Description, 60))
	}
	return t.Flush()
}

func printTeam(w io.Writer, team *sdk.TeamStatus) error {
	fmt.Fprintf(w, "%s: %s, %d running, %d waiting, %s\n", team.Team, team.Status, team.Queue.Running, team.Queue.Waiting, count(team.Sessions, "session"))
	if team.Description != "" {
		fmt.Fprintln(w, printable(team.Description))
	}
	if team.Path != "" {
		fmt.Fprintln(w, team.Path)
	}
	if team.LastError != nil {
		fmt.Fprintf(w, "last error: %s\n", printable(team.LastError.Message))
	}
	if len(team.Processes) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nPID\tSTATE\tFROM\tSTARTED\tLAST USED\tMESSAGES\tMEMORY")
	for _, p := range team.Processes {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%d\t%d MB\n", p.PID, p.State, p.From, ago(p.StartedAt.Time), ago(p.LastUsedAt.Time), p.Messages, p.RSSBytes>>20)
	}
	return t.Flush()
}
