package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/iris-mcp/iris-mcp/internal/config"
	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"
)

func configCmd() *cobra.Command {
	return group("config", "Look at the configuration", configCheckCmd(), configShowCmd(), configSchemaCmd())
}

func configCheckCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check the configuration and say everything that is wrong with it",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := configFile(cmd, true)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				file = args[0]
			}
			c, err := config.Load(file)
			problems, ok := errors.AsType[config.Problems](err)
			if err != nil && !ok {
				return usage("%w", err)
			}
			if asJSON {
				if err := printJSON(cmd.OutOrStdout(), viewConfig(file, c, problems)); err != nil || problems == nil {
					return err
				}
				return &failure{exitFailed, errors.New("")} // all has been said
			}
			if problems != nil {
				return problems
			}
			for _, w := range c.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "iris-mcp: "+w)
			}
			if _, err := os.Stat(c.File); errors.Is(err, fs.ErrNotExist) {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "there is no %s, and need be none: every setting is the default\n", c.File)
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is correct: %s\n", c.File, count(len(c.Teams), "team"))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

func configShowCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Show the configuration with everything filled in",
		Long: `Show the configuration as it counts: every default filled in, variables expanded, paths whole.
Secrets are not shown; but for them, what it prints is a configuration itself.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := configFile(cmd, true)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				file = args[0]
			}
			c, err := config.Load(file)
			if _, ok := errors.AsType[config.Problems](err); err != nil && !ok {
				return usage("%w", err)
			} else if err != nil {
				return err
			}
			shown := c.Shown()
			if asJSON {
				var v any
				if err := shown.Decode(&v); err != nil {
					return err
				}
				return printJSON(cmd.OutOrStdout(), v)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "# %s, with everything filled in\n", c.File)
			enc := yaml.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent(2)
			return errors.Join(enc.Encode(shown), enc.Close())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

func configSchemaCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the configuration's JSON Schema, for editors",
		Long: `Print the JSON Schema of iris-config.yaml. Editors complete and check by it: save it and begin
the configuration with a comment that names it.`,
		Example: `  iris-mcp config schema > ~/.iris/iris-config.schema.json
  # yaml-language-server: $schema=iris-config.schema.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.JSONSchema)
			return err
		},
	}
}

// configView is what the check found, for scripts.
type configView struct {
	File     string        `json:"file"`
	Correct  bool          `json:"correct"`
	Teams    []string      `json:"teams"`
	Problems []problemView `json:"problems"`
	Warnings []string      `json:"warnings"`
}

type problemView struct {
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Key     string `json:"key,omitempty"`
	Problem string `json:"problem"`
}

func viewConfig(file string, c *config.Config, problems config.Problems) configView {
	v := configView{File: file, Correct: problems == nil, Teams: []string{}, Problems: []problemView{}, Warnings: []string{}}
	for _, p := range problems {
		v.Problems = append(v.Problems, problemView{p.Line, p.Column, p.Key, p.Text})
	}
	if c != nil {
		for _, t := range c.Teams {
			v.Teams = append(v.Teams, t.Name)
		}
		v.Warnings = append(v.Warnings, c.Warnings...)
	}
	return v
}

// count says how many there are: "1 team", "2 teams".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
