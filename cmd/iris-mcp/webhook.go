package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/iris-mcp/iris-mcp/internal/webhook"
)

func webhookCmd() *cobra.Command {
	return group("webhook", "Show or replace what callbacks are signed with, or call one again",
		webhookSecretCmd(), webhookRotateCmd(), webhookResendCmd())
}

func webhookSecretCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "secret",
		Short: "Show the secret that callbacks are signed with",
		Long: `Show the secret that callbacks are signed with: webhooks.secret of the configuration, else the one
of the data folder, which is made if there is none. A receiver checks with it that a callback comes
from here (www.standardwebhooks.com).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			home, err := homeDir(cmd)
			if err != nil {
				return err
			}
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(home, 0o700); err != nil {
				return fmt.Errorf("make the data folder: %w; name another one with IRIS_HOME", err)
			}
			secrets, err := secretsOf(home, c)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), secrets[0])
			return err
		},
	}
}

func webhookRotateCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate",
		Short: "Make a new secret; the old one signs beside it for a day",
		Long: `Make a new secret and print it. It counts at once, whether the server runs or not. For a day
callbacks have a signature by the old one too, so that receivers can be told meanwhile.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			home, err := homeDir(cmd)
			if err != nil {
				return err
			}
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if c.Webhooks.Secret != "" {
				return fmt.Errorf("callbacks are signed with webhooks.secret of %s: replace it there", c.File)
			}
			if err := os.MkdirAll(home, 0o700); err != nil {
				return fmt.Errorf("make the data folder: %w; name another one with IRIS_HOME", err)
			}
			secret, err := webhook.Rotate(home)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "the secret before it is good for another %s; the new one:\n", span(webhook.Overlap))
			_, err = fmt.Fprintln(cmd.OutOrStdout(), secret)
			return err
		},
	}
}

func webhookResendCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "resend ID",
		Short: "Call the callback of a finished task again",
		Long: `Call the callback of a finished task again now, whatever became of it before. The body and the
webhook-id are the same as then.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf(`which one? iris-mcp webhook resend ID; "iris-mcp history" shows the ids`)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			m, err := client.Messages.Resend(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), m)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "the callback of %s is called again; \"iris-mcp history %s --json\" shows what becomes of it\n", m.MessageID, m.MessageID)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return clientFlags(cmd)
}
