package main

import (
	"fmt"
	"time"

	sdk "github.com/iris-mcp/go-client"
	"github.com/spf13/cobra"
)

func executeCmd() *cobra.Command {
	var o struct {
		json, wait bool
		priority   string
		session    string
		timeout    time.Duration
		callback   string
	}
	cmd := &cobra.Command{
		Use:   "execute TEAM [TASK]",
		Short: "Leave a task with a team",
		Long: `Leave a task with a team and go on. It prints the job's id; "iris-mcp history ID" shows what
became of it. The task survives a restart of the server.

What is piped in is the task, or is put below the one on the command line. With --wait it waits
for the end and prints the answer; Ctrl-C then ends the wait, not the task.`,
		Args:              teamAndText("task"),
		ValidArgsFunction: completeTeam,
		RunE: func(cmd *cobra.Command, args []string) error {
			task, err := textOf(cmd.InOrStdin(), args[1:], "task")
			if err != nil {
				return err
			}
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			options := []sdk.ExecuteOption{sdk.WithPriority(sdk.Priority(o.priority))}
			if o.session != "" {
				options = append(options, sdk.WithSession(o.session))
			}
			if o.timeout != 0 {
				options = append(options, sdk.WithTimeout(o.timeout))
			}
			if o.callback != "" {
				options = append(options, sdk.WithCallback(sdk.Callback{URL: o.callback}))
			}
			ctx, cancel := patience(cmd.Context(), 0)
			defer cancel()
			job, err := client.Teams.Team(args[0]).Execute(ctx, task, options...)
			if err != nil {
				return err
			}
			if !o.wait {
				if o.json {
					return printJSON(cmd.OutOrStdout(), job)
				}
				fmt.Fprintln(cmd.ErrOrStderr(), queued(job))
				_, err := fmt.Fprintln(cmd.OutOrStdout(), job.JobID)
				return err
			}
			r := newReader(cmd, client, args[0], o.json)
			r.id, r.question = job.MessageID, task
			return r.follow(ctx, client.Messages.Stream(ctx, job.MessageID, 0))
		},
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print it as JSON")
	cmd.Flags().BoolVar(&o.wait, "wait", false, "wait for the end and print the answer")
	cmd.Flags().StringVar(&o.priority, "priority", "normal", "low, normal or high")
	cmd.Flags().StringVar(&o.session, "session", "", "continue that conversation: a name of your own, or the sessionId of an earlier answer")
	cmd.Flags().Var((*duration)(&o.timeout), "timeout", "the most the task may take: 30m, 2h (default: the team's turnTimeout)")
	cmd.Flags().StringVar(&o.callback, "callback", "", "an address that the server tells when the task has ended; see \"iris-mcp webhook\"")
	complete(cmd, "priority", "low", "normal", "high")
	return clientFlags(cmd)
}

// queued says where the task stands.
func queued(job *sdk.Job) string {
	text := fmt.Sprintf("queued for %s", job.Team)
	if job.Position > 1 {
		text += fmt.Sprintf(", %d before it", job.Position-1)
	}
	if !job.EstimatedCompletion.IsZero() {
		text += fmt.Sprintf(", done in about %s", span(time.Until(job.EstimatedCompletion.Time)))
	}
	return text + "; its id:"
}
