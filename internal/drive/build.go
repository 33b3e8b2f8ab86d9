package drive

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build builds iris-mcp as `make build` does into a folder, with more flags of go build, and
// gives the program's path. The working folder must be one directly below the top of the tree,
// as a test's is.
func Build(dir string, flags ...string) (binary string, err error) {
	binary = filepath.Join(dir, "iris-mcp")
	args := append([]string{"build", "-trimpath", "-tags", "nomsgpack", "-o", binary}, flags...)
	if out, err := exec.Command("go", append(args, "../cmd/iris-mcp")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build iris-mcp: %w\n%s", err, out)
	}
	return binary, nil
}

// WithBinary builds iris-mcp for a run of tests, and gives the run's exit code: 1 if it cannot
// be built. The program is gone when it returns.
func WithBinary(run func(binary string) int) (code int) {
	dir, err := os.MkdirTemp("", "iris-built-")
	if err == nil {
		defer os.RemoveAll(dir)
		var binary string
		if binary, err = Build(dir); err == nil {
			return run(binary)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}
