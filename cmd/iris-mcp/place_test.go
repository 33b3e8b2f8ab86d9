package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/iris-mcp/iris-mcp/internal/owner"
)

func TestTheLocalKeyGoesToItsOwnServerAlone(t *testing.T) {
	var sent string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = r.Header.Get("Authorization")
		io.WriteString(w, `{"teams":[]}`)
	}))
	defer server.Close()
	local := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	tests := []struct {
		name    string
		address string // what the data folder's server has written down
		dead    bool   // and then it was killed
		url     string // IRIS_URL
		key     string // IRIS_API_KEY
		want    string
	}{
		{"to where the data folder says", server.URL, false, "", "", "Bearer iris_sk_local"},
		{"by another name of the same", server.URL, false, local, "", "Bearer iris_sk_local"},
		{"not to another port", "http://127.0.0.1:1", false, server.URL, "", ""},
		{"not while no server has said where it is", "", false, server.URL, "", ""},
		{"not to who took the port of one that was killed", server.URL, true, server.URL, "", ""},
		{"not if there is another key", server.URL, false, "", "iris_sk_mine", "Bearer iris_sk_mine"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("IRIS_HOME", home)
			t.Setenv("IRIS_URL", tt.url)
			t.Setenv("IRIS_API_KEY", tt.key)
			if err := os.WriteFile(localKeyFile(home), []byte("iris_sk_local\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.address != "" {
				if err := os.WriteFile(addressFile(home), []byte(tt.address+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if !tt.dead {
				own, err := owner.Take(home)
				if err != nil {
					t.Fatal(err)
				}
				defer own.Close()
			}
			client, err := connect(statusCmd())
			if err != nil {
				t.Fatal(err)
			}
			sent = "nothing"
			if _, err := client.Teams.List(t.Context()); err != nil || sent != tt.want {
				t.Errorf("sent %q, %v", sent, err)
			}
		})
	}
}

func TestALocalKeyThatHasGone(t *testing.T) {
	if _, err := apiKey("", t.TempDir(), true); err == nil || !strings.Contains(err.Error(), "start Iris again") {
		t.Errorf("it says %v", err)
	}
}
