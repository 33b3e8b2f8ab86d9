package main

import (
	"fmt"

	sdk "github.com/iris-mcp/go-client"
	"github.com/spf13/cobra"
)

func cancelCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "cancel ID",
		Short: "Cancel a message or a task",
		Long: `Cancel a message or a task: one that waits is not run, one that runs is interrupted. One that
has ended stays as it is.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf(`which one? iris-mcp cancel ID; "iris-mcp history --status processing" shows what runs`)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			m, err := client.Messages.Cancel(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			switch {
			case asJSON:
				return printJSON(cmd.OutOrStdout(), m)
			case m.Status == sdk.StatusCancelled:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is cancelled\n", m.MessageID)
			default:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s had already ended: %s\n", m.MessageID, m.Status)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return clientFlags(cmd)
}
