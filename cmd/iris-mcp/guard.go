package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/iris-mcp/iris-mcp/internal/process"
)

// guardCmd is what a server starts beside itself. A person has no use for it.
func guardCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "guard RUN",
		Short:  "End what a server leaves behind when it is killed",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return process.StandGuard(os.Stdin, args[0]) },
	}
}

// guard starts this program's guard, by the name that this program was started with.
func guard(k *process.Keeper) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return k.Guard(self, os.Args[0], "guard")
}
