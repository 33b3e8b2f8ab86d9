package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iris-mcp/iris-mcp/internal/config"
)

func TestFind(t *testing.T) {
	home, here := t.TempDir(), t.TempDir()
	t.Chdir(here)
	t.Setenv("IRIS_HOME", home)
	t.Setenv("IRIS_CONFIG_PATH", "")
	inHome, inHere := filepath.Join(home, config.FileName), filepath.Join(here, config.FileName)
	touch := func(file string) {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	find := func(what, flag string, terminal bool, want string) {
		t.Helper()
		if got, err := config.Find(flag, terminal); err != nil || got != want {
			t.Errorf("%s: found %s (%v), want %s", what, got, err, want)
		}
	}
	find("nothing is there", "", true, inHome)
	touch(inHere)
	find("a command typed in a folder that has one", "", true, inHere)
	find("a server started in a folder that has one", "", false, inHome)
	touch(inHome)
	find("the data folder's comes before the working folder's", "", true, inHome)
	t.Setenv("IRIS_CONFIG_PATH", "env.yaml")
	find("the environment comes before the data folder", "", true, filepath.Join(here, "env.yaml"))
	t.Setenv("HOME", "/home/me")
	t.Setenv("IRIS_CONFIG_PATH", "~/env.yaml")
	find("no shell expanded the environment", "", true, "/home/me/env.yaml")
	find("the flag comes before all", "flag.yaml", false, filepath.Join(here, "flag.yaml"))
}

func TestHomeIsAbsolute(t *testing.T) {
	here := t.TempDir()
	t.Chdir(here)
	for _, tt := range []struct{ name, iris, home, want string }{
		{"named", "/srv/iris", "/root", "/srv/iris"},
		{"named by a relative path", "data", "/root", here + "/data"},
		{"named by way of the home folder", "~/iris data", "/home/me", "/home/me/iris data"},
		{"not named", "", "/home/me", "/home/me/.iris"},
	} {
		t.Setenv("IRIS_HOME", tt.iris)
		t.Setenv("HOME", tt.home)
		if got, err := config.Home(); err != nil || got != tt.want {
			t.Errorf("%s: %s (%v), want %s", tt.name, got, err, tt.want)
		}
	}
}

func TestOnlyTheDataFoldersFileMayBeMissing(t *testing.T) {
	home := t.TempDir()
	t.Setenv("IRIS_HOME", home)
	c, err := config.Load(filepath.Join(home, config.FileName))
	if err != nil || len(c.Teams) != 0 || c.API.Port != 3100 || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "team add") {
		t.Errorf("Load gave %+v, %v", c, err)
	}
	if _, err := config.Load(filepath.Join(home, "typo.yaml")); err == nil || !strings.HasPrefix(err.Error(), "there is no ") {
		t.Errorf("a file that was named and is not there: %v", err)
	}
	if _, err := config.Load(home); err == nil {
		t.Error("a folder was read")
	}
}

func TestNobodyFromOutsideWithoutAKey(t *testing.T) {
	key := ", auth: {keys: [{name: a, keyHash: " + strings.Repeat("ab", 32) + ", scopes: ['*'], expiresAt: %}]}"
	valid, expired := strings.Replace(key, "%", "2100-01-01", 1), strings.Replace(key, "%", "2020-01-01", 1)
	for _, tt := range []struct {
		name, api string
		storeKeys bool
		refused   bool
	}{
		{"loopback by default", "{port: 1}", false, false},
		{"loopback by name", "{host: localhost}", false, false},
		{"another loopback address", "{host: 127.1.2.3}", false, false},
		{"loopback of IPv6", "{host: '::1'}", false, false},
		{"loopback of IPv6 in brackets", "{host: '[::1]'}", false, false},
		{"every network", "{host: 0.0.0.0}", false, true},
		{"every network of IPv6", "{host: '::'}", false, true},
		{"a name that may lead anywhere", "{host: localhost.example.com}", false, true},
		{"every network, with a key in the store", "{host: 0.0.0.0}", true, false},
		{"every network, with a key in the file", "{host: 0.0.0.0" + valid + "}", false, false},
		{"every network, with an expired key", "{host: 0.0.0.0" + expired + "}", false, true},
		{"every network, with tokens", "{host: 0.0.0.0, auth: {type: jwt, jwt: {secret: " + strings.Repeat("s", 32) + "}}}", false, false},
		{"every network, with tokens that do not count", "{host: 0.0.0.0, auth: {jwt: {secret: " + strings.Repeat("s", 32) + "}}}", false, true},
		{"nothing is served", "{host: 0.0.0.0, enabled: false}", false, false},
	} {
		err := load(t, "api: "+tt.api).CheckBind(tt.storeKeys)
		if (err != nil) != tt.refused {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
