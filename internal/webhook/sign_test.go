package webhook_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iris-mcp/iris-mcp/internal/webhook"
)

func TestSecretsAreMadeOnceAndKept(t *testing.T) {
	dir := t.TempDir()
	made := make([][]string, 10)
	var starts sync.WaitGroup
	for i := range made {
		starts.Go(func() {
			var err error
			if made[i], err = webhook.Secrets(dir); err != nil {
				t.Error(err)
			}
		})
	}
	starts.Wait()
	for _, secrets := range made {
		if len(secrets) != 1 || secrets[0] != made[0][0] || len(secrets[0]) != len("whsec_")+44 {
			t.Errorf("the secrets are %q and %q", made[0], secrets)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "webhook.secret"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its file is %v, %v", info, err)
	}
}

func TestRotate(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		want := func(all ...string) {
			t.Helper()
			if got, err := webhook.Secrets(dir); err != nil || !slices.Equal(got, all) {
				t.Errorf("the secrets are %q, %v, want %q", got, err, all)
			}
		}
		first, err := webhook.Secrets(dir)
		if err != nil {
			t.Fatal(err)
		}
		second, err := webhook.Rotate(dir)
		if err != nil {
			t.Fatal(err)
		}
		want(second, first[0])
		time.Sleep(webhook.Overlap / 2)
		third, err := webhook.Rotate(dir)
		if err != nil {
			t.Fatal(err)
		}
		want(third, second, first[0])
		time.Sleep(webhook.Overlap / 2)
		want(third, second)
		time.Sleep(webhook.Overlap / 2)
		want(third)
	})
}

func TestAFileOfSecretsThatIsNotGood(t *testing.T) {
	for _, tt := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{"hello\n", 0o600, "holds no webhook secret"},
		{secret + "\n", 0o640, "is open to others (mode 0640)"},
		{secret + "\n" + another[:20], 0o600, ""}, // somebody was killed while the text became shorter
		{secret + "\n" + another + "\n", 0o600, ""},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "webhook.secret")
		if err := os.WriteFile(path, []byte(tt.text), tt.mode); err != nil {
			t.Fatal(err)
		}
		secrets, err := webhook.Secrets(dir)
		switch {
		case tt.want == "":
			if err != nil || !slices.Equal(secrets, []string{secret}) {
				t.Errorf("%q: %q, %v", tt.text, secrets, err)
			}
		case err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path):
			t.Errorf("%q: %v, want %q", tt.text, err, tt.want)
		}
	}
}
