package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/iris-mcp/iris-mcp/internal/config"
	"github.com/spf13/cobra"
)

func configCmd() *cobra.Command {
	return group("config", "Look at the configuration", configCheckCmd())
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
