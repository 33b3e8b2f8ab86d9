package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// run runs the command line and gives the exit code.
func run(ctx context.Context, args []string) int {
	root := rootCmd()
	root.SetArgs(args)
	began := false // whatever fails before a command began is a mistake in the line itself
	onRun(root, func() { began = true })
	err := root.ExecuteContext(ctx)
	if err != nil && !began {
		err = usage("%w", err)
	}
	return report(os.Stderr, err)
}

// rootCmd is iris-mcp with all its subcommands.
func rootCmd() *cobra.Command {
	serve := serveCmd()
	root := &cobra.Command{
		Use:   "iris-mcp",
		Short: "Ask a Claude Code team in another project",
		Long: `Iris runs a real Claude Code in each of your projects (a "team") and lets others ask it:
another Claude Code over MCP, programs over HTTP, and you with "iris-mcp ask".

Without a subcommand iris-mcp serves, as "iris-mcp serve" does.`,
		Args:              onlySubcommands,
		RunE:              serve.RunE,
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
	}
	root.PersistentFlags().String("config", "", "configuration file (default $IRIS_CONFIG_PATH, else iris-config.yaml in the data folder)")
	root.PersistentFlags().String("home", "", "data folder (default $IRIS_HOME, else ~/.iris)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf(`%w; "%s --help" shows the flags`, err, cmd.CommandPath())
	})
	root.Flags().AddFlagSet(serve.Flags())
	root.Version = thisBuild().String()
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(
		serve,
		askCmd(), executeCmd(), statusCmd(), historyCmd(), cancelCmd(),
		teamCmd(), apiKeyCmd(), webhookCmd(), configCmd(),
		backupCmd(), doctorCmd(), demoCmd(), versionCmd(), guardCmd(),
	)
	return root
}

// onRun has every command call do before it does anything else.
func onRun(cmd *cobra.Command, do func()) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			do()
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		onRun(sub, do)
	}
}

// onlySubcommands refuses a first word that names no subcommand of cmd.
func onlySubcommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Sprintf("unknown command %q", args[0])
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err += fmt.Sprintf("; did you mean %q?", strings.Join(near, `" or "`))
	} else {
		err += fmt.Sprintf(`; "%s --help" lists them`, cmd.CommandPath())
	}
	return fmt.Errorf("%s", err)
}

// group is a command that only has subcommands.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  onlySubcommands,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage(`which one? "%s --help" lists them`, cmd.CommandPath())
		},
	}
	cmd.AddCommand(commands...)
	return cmd
}
