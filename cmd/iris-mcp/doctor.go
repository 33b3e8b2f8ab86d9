package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/config"
	"github.com/iris-mcp/iris-mcp/internal/doctor"
	"github.com/iris-mcp/iris-mcp/internal/process"
	"github.com/iris-mcp/iris-mcp/internal/store"
	"github.com/spf13/cobra"
)

func doctorCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what would keep Iris from working",
		Long: `Look for what would keep Iris from working: the configuration, the folders, the Claude Code CLI,
who pays for it, the port. It changes nothing. Of credentials it tells where they come from,
never what they are. The exit code is 1 if something will not work.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			d, err := patient(cmd)
			if err != nil {
				return err
			}
			keeper := process.New("doctor", slog.New(slog.DiscardHandler))
			defer func() { err = errors.Join(err, keeper.Close()) }()
			d.Run = func(cmd *exec.Cmd) error {
				child, err := keeper.Start(cmd)
				if err != nil {
					return err
				}
				defer child.Sweep()
				return child.Wait()
			}
			found := d.Examine(cmd.Context())
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), map[string]any{"findings": found})
			} else {
				err = printFindings(cmd.OutOrStdout(), found)
			}
			if err == nil && doctor.Worst(found) == doctor.Fail {
				err = &failure{exitFailed, errors.New("")} // all has been said
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

// patient is what the doctor is to look at.
func patient(cmd *cobra.Command) (*doctor.Doctor, error) {
	home, err := homeDir(cmd)
	if err != nil {
		return nil, err
	}
	file, err := configFile(cmd, true)
	if err != nil {
		return nil, err
	}
	d := &doctor.Doctor{Home: home, File: file, Socket: filepath.Join(home, "sock"), ClaudePath: "claude"}
	if text, err := os.ReadFile(addressFile(home)); err == nil {
		d.Running = strings.TrimSpace(string(text))
		if strings.HasPrefix(d.Running, "https:") {
			d.Web = ownTransport(home)
		}
	}
	c, err := config.Load(file)
	if err != nil {
		if problems, ok := errors.AsType[config.Problems](err); ok {
			for _, p := range problems {
				d.Problems = append(d.Problems, p.String())
			}
		} else {
			d.Problems = []string{err.Error()}
		}
		return d, nil
	}
	d.Warnings, d.Teams, d.ClaudePath = c.Warnings, c.Teams, c.Settings.ClaudePath
	if c.API.Enabled && c.API.Port != 0 {
		d.Address = c.API.Address()
	}
	if err := c.CheckBind(false); err != nil && !storedKey(cmd, home) {
		d.Unkeyed = err.Error()
	}
	return d, nil
}

// storedKey reports whether the data folder has a valid API key, or cannot be asked, which
// others tell. A data folder that has no database gets none.
func storedKey(cmd *cobra.Command, home string) bool {
	if _, err := os.Stat(storeFile(home)); errors.Is(err, fs.ErrNotExist) {
		return false
	}
	found := true
	_ = withStore(cmd, func(ctx context.Context, db *store.DB) error {
		keys, err := db.Keys(ctx)
		if err == nil {
			found = slices.ContainsFunc(keys, iris.Key.Valid)
		}
		return err
	})
	return found
}

func printFindings(w io.Writer, found []doctor.Finding) error {
	for _, f := range found {
		if _, err := fmt.Fprintf(w, "%-5s %s: %s\n", f.Level, f.Subject, printable(f.Text)); err != nil {
			return err
		}
		if f.Do != "" {
			fmt.Fprintf(w, "      → %s\n", f.Do)
		}
	}
	return nil
}
