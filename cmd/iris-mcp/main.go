// Command iris-mcp is Iris: the server that lets Claude Code teams be asked, and the commands
// a person types at it. One file per subcommand; own.go builds the parts and hands them to
// each other.
package main

import (
	"context"
	"os"
)

func main() {
	version = thisBuild().Version
	os.Exit(run(context.Background(), os.Args[1:]))
}
