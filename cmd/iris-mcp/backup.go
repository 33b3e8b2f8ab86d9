package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/iris-mcp/iris-mcp/internal/store"
	"github.com/spf13/cobra"
)

func backupCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the record of the data folder to a new file",
		Long: `Copy the record of the data folder, messages, conversations, queue and keys, to a new file, as it
is at one moment. The server may run and goes on meanwhile. A file that exists is left as it is.

To go back to it, stop Iris, put the file in the place of iris.db in the data folder, remove
iris.db-wal and iris.db-shm if they are there, and start Iris again.`,
		Example: `  iris-mcp backup /var/backups/iris-$(date +%F).db`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("which file? iris-mcp backup FILE, which must not exist yet")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			home, err := homeDir(cmd)
			if err != nil {
				return err
			}
			if err := store.Backup(cmd.Context(), storeFile(home), args[0]); err != nil {
				return err
			}
			info, err := os.Stat(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "backed up to %s (%.1f MB)\n", args[0], float64(info.Size())/1e6)
			return err
		},
	}
}
