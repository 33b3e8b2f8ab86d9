//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/iris-mcp/iris-mcp/internal/drive"
)

// server is an Iris that serves MCP on stdio and HTTP.
type server struct {
	*drive.Server
	opts drive.Options
}

// serve starts one for teams of these names, each in a folder of its own in the rig's, and
// stops it when the test ends.
func (r *rig) serve(teams ...string) *server {
	r.t.Helper()
	path, err := program()
	if err != nil {
		r.t.Fatal(err)
	}
	configured := map[string]any{}
	for _, name := range teams {
		dir := filepath.Join(r.team.Path, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			r.t.Fatal(err)
		}
		r.write(filepath.Join(name, "CLAUDE.md"), fmt.Sprintf("# %s\n\n- This is the %s project.\n", name, name))
		configured[name] = map[string]any{"path": dir, "env": r.team.Env}
	}
	opts := drive.Options{
		Binary: path, Home: filepath.Join(r.t.TempDir(), "home"), Env: os.Environ(), Stdio: true,
		Config: map[string]any{"settings": map[string]any{"claudePath": r.team.ClaudePath}, "teams": configured},
	}
	s, err := drive.Start(context.WithoutCancel(r.t.Context()), opts)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			r.t.Errorf("%v\n%s", err, s.Stderr())
		}
	})
	return &server{s, opts}
}
