package main

import (
	"bytes"
	"flag"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/iris-mcp/iris-mcp/agent/agenttest"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestMain makes the test binary play iris-mcp, so that the stories run the real program, and
// the claude that it starts, which plays a script, and who takes its callbacks.
func TestMain(m *testing.M) {
	if strings.HasSuffix(os.Args[0], ".test") {
		// Tests under nohup ignore hang-ups, and so would all that they start, for good. A handler
		// is no longer there after an exec, and the programs of the stories get what is usual.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	testscript.Main(m, map[string]func(){
		"iris-mcp": main,
		"claude":   agenttest.Main,
		"receiver": receiver,
	})
}

// TestHelp compares what --help says with testdata/help, a file per command.
func TestHelp(t *testing.T) {
	var each func(*cobra.Command)
	each = func(cmd *cobra.Command) {
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "_")
		t.Run(name, func(t *testing.T) {
			root := rootCmd() // a fresh one: flags remember
			var out bytes.Buffer
			root.SetOut(&out)
			root.SetArgs(append(strings.Fields(cmd.CommandPath())[1:], "--help"))
			if err := root.Execute(); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "help", name+".txt")
			if *update {
				if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := out.String(); got != string(want) {
				t.Errorf("%s differs (-update rewrites it):\n%s", file, got)
			}
		})
		for _, sub := range cmd.Commands() {
			each(sub)
		}
	}
	each(rootCmd())
}
