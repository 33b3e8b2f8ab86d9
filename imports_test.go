package iris_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const module = "github.com/iris-mcp/iris-mcp"

// The parts form a star: each knows the root and no neighbour, cmd/iris-mcp knows all and is
// known by nobody. These are the exceptions, each with its reason.
var (
	exceptions = map[[2]string]string{
		{"agent", "internal/process"}: "it starts the CLI, and there is one place that starts processes",
		{"httpapi", "httpapi/socket"}: "the mechanics of a WebSocket, apart from what is said over it",
		{"bench", "internal/model"}:   "a program of its own: it measures Iris from outside, on the scripted model,",
		{"bench", "internal/drive"}:   "and starts and asks the built binary as the end-to-end tests do;",
		{"bench", "internal/store"}:   "the record,",
		{"bench", "internal/bus"}:     "its events",
		{"bench", "queue"}:            "and the queue are measured by themselves",
	}
	// Of test files; "" is any part.
	testExceptions = map[[2]string]string{
		{"", "internal/cert/certtest"}:   "certificates that nobody trusts",
		{"", "agent/agenttest"}:          "the scripted CLI stands in for the real one",
		{"", "internal/model"}:           "the scripted model stands in for the real one",
		{"", "internal/drive"}:           "tests of the built binary start it and talk to it from outside",
		{"", "internal/limit/limittest"}: "the suite that every counter of requests passes",
		{"", "queue/queuetest"}:          "the suite that every store of a queue passes",
		{"dispatch", "internal/store"}:   "the life of a message is told with the real record,",
		{"dispatch", "internal/bus"}:     "the real events",
		{"dispatch", "queue"}:            "and the real queue",
		{"e2e", "agent"}:                 "a turn of the real CLI is seen as the pool sees it",
		{"e2e", "internal/process"}:      "likewise",
		{"clients", "internal/webhook"}:  "receivers' libraries verify what the real sender sends",
	}
)

// listed is a package as `go list -json` shows it.
type listed struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// list gives the packages of the module in a folder, with the files that any tag of ours adds.
func list(t *testing.T, dir string) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-tags", "e2e,live,contract,attack,clients,chaos", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// part is the path of a package of ours within the module, "" for the root; false for others.
func part(importPath string) (string, bool) {
	if importPath == module {
		return "", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// standard reports whether the package is of the standard library: only those have no dot in
// their first name.
func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

func TestThePartsFormAStar(t *testing.T) {
	packages := list(t, ".")
	if len(packages) < 10 {
		t.Fatalf("only %d packages", len(packages))
	}
	used := map[[2]string]bool{}
	allowed := func(from, to string, by ...map[[2]string]string) bool {
		for _, list := range by {
			for _, pair := range [][2]string{{from, to}, {"", to}} {
				if list[pair] != "" {
					used[pair] = true
					return true
				}
			}
		}
		return false
	}
	for _, p := range packages {
		from, _ := part(p.ImportPath)
		for _, i := range p.Imports {
			to, ours := part(i)
			switch {
			case from == "" && !standard(i):
				t.Errorf("the root imports %s: it needs nothing but the standard library", i)
			case !ours || to == "" || strings.HasPrefix(from, "cmd/") && !strings.HasPrefix(to, "cmd/"):
			case !allowed(from, to, exceptions):
				t.Errorf("%s imports %s: say what it needs as an interface of its own, or give the exception a reason here", from, to)
			}
		}
		for _, i := range append(p.TestImports, p.XTestImports...) {
			to, ours := part(i)
			switch {
			case !ours || to == "" || to == from || strings.HasPrefix(from, "cmd/") && !strings.HasPrefix(to, "cmd/"):
			case !allowed(from, to, exceptions, testExceptions):
				t.Errorf("the tests of %s import %s: use a fake, or give the exception a reason here", from, to)
			}
		}
	}
	for _, list := range []map[[2]string]string{exceptions, testExceptions} {
		for pair := range list {
			if pair[0] != "" && !used[pair] {
				t.Errorf("%s no longer imports %s: the exception has no reason any more", pair[0], pair[1])
			}
		}
	}
}

func TestNobodyWhoUsesTheSDKGetsTheServer(t *testing.T) {
	packages := list(t, path.Join("sdk", "go"))
	if len(packages) == 0 {
		t.Fatal("no package")
	}
	for _, p := range packages {
		for _, i := range append(p.Imports, append(p.TestImports, p.XTestImports...)...) {
			if !standard(i) && i != p.ImportPath {
				t.Errorf("%s imports %s: it needs nothing but the standard library", p.ImportPath, i)
			}
		}
	}
}
