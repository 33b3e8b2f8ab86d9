package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp/internal/config"
)

const exampleFile = "../../iris-config.yaml"

func TestTheExampleLoadsAsItStands(t *testing.T) {
	t.Setenv("IRIS_PORT", "")
	c, err := config.Load(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 0 {
		t.Errorf("it is warned of %q", c.Warnings)
	}
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if names(c) != "docs iris" || c.Teams[1].Path != top || c.Teams[0].Path != filepath.Join(top, "docs") || c.Teams[0].IdleTimeout != 5*time.Minute {
		t.Errorf("its teams are %+v", c.Teams)
	}
	// but for its teams it is what an empty file is, as its comment says
	empty := load(t, "")
	for _, block := range []string{"API", "Settings", "Queue", "Webhooks"} {
		got := reflect.ValueOf(*c).FieldByName(block).Interface()
		if want := reflect.ValueOf(*empty).FieldByName(block).Interface(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is\n%+v\nby default it is\n%+v", block, got, want)
		}
	}
}

func TestTheExampleLoadsWithItsCommentsTakenAway(t *testing.T) {
	t.Setenv("IRIS_CI_KEY", "iris_sk_0123456789012345678901234567890123456789")
	text, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	// a commented line of configuration is an indented one
	all := regexp.MustCompile(`(?m)^( +)# (.*)$`).ReplaceAllString(string(text), "$1$2")
	c := load(t, all, "docs")
	if names(c) != "backend docs iris" || len(c.Keys) != 1 || c.Teams[0].Env["DATABASE_URL"] != "postgres://localhost/acme" {
		t.Errorf("it loads as %+v", c)
	}
}
