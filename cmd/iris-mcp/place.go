package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	sdk "github.com/iris-mcp/go-client"
	"github.com/spf13/cobra"

	"github.com/iris-mcp/iris-mcp/internal/cert"
	"github.com/iris-mcp/iris-mcp/internal/config"
	"github.com/iris-mcp/iris-mcp/internal/owner"
)

// The files of the data folder that the commands share with serve.
func storeFile(home string) string    { return filepath.Join(home, "iris.db") }
func addressFile(home string) string  { return filepath.Join(home, "address") }    // the base URL of the running server
func pinsFile(home string) string     { return filepath.Join(home, "tls.sha256") } // the fingerprints of its certificate
func localKeyFile(home string) string { return filepath.Join(home, "local.key") }  // of the local user

// clientFlags adds the flags by which a command finds the server.
func clientFlags(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().String("url", "", "the server's address (default $IRIS_URL, else the one that runs on this data folder)")
	cmd.Flags().String("key-file", "", "file that holds the API key (default $IRIS_API_KEY, else the local user's own key)")
	return cmd
}

// connect gives a client of the server that the flags, the environment or the data folder
// name, with the key that goes with it. It does not connect yet.
func connect(cmd *cobra.Command) (*sdk.Client, error) {
	home, err := homeDir(cmd)
	if err != nil {
		return nil, err
	}
	own, err := ownAddress(home)
	if err != nil {
		return nil, err
	}
	flag, _ := cmd.Flags().GetString("url") // clientFlags
	address := cmp.Or(flag, os.Getenv("IRIS_URL"), own)
	if address == "" {
		if address, err = configuredAddress(cmd); err != nil {
			return nil, err
		}
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, usage("%q is not the address of a server; it looks like http://127.0.0.1:3100", address)
	}
	keyFile, _ := cmd.Flags().GetString("key-file") // clientFlags
	key, err := apiKey(keyFile, home, isOwn(base, own))
	if err != nil {
		return nil, err
	}
	options := []sdk.ClientOption{sdk.WithBaseURL(address), sdk.WithAPIKey(key), sdk.WithRetry(3, 5*time.Second)}
	if base.Scheme == "https" && isOwn(base, own) {
		options = append(options, sdk.WithHTTPClient(&http.Client{Transport: ownTransport(home)}))
	}
	return sdk.NewClient(options...), nil
}

// ownTransport speaks TLS with this data folder's own server, whoever signed its certificate.
func ownTransport(home string) http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone() // net/http says that it is one
	t.TLSClientConfig = cert.Pinned(pinsFile(home))
	return t
}

// homeDir is the data folder: --home, else $IRIS_HOME, else ~/.iris. It may not exist yet. The
// flag becomes the variable, so that there is one data folder for every part of the program.
func homeDir(cmd *cobra.Command) (string, error) {
	flag, _ := cmd.Flags().GetString("home") // every command has it
	if flag != "" {
		if err := os.Setenv("IRIS_HOME", flag); err != nil {
			return "", usage("--home: %w", err)
		}
	}
	return config.Home()
}

// configFile is the configuration that the flags, the environment or the folders name. In the
// working folder (here) it is looked for only on behalf of a person at a terminal: see
// config.Find.
func configFile(cmd *cobra.Command, here bool) (string, error) {
	if _, err := homeDir(cmd); err != nil {
		return "", err
	}
	flag, _ := cmd.Flags().GetString("config") // every command has it
	return config.Find(flag, here && isTerminal(os.Stdin))
}

// ownAddress is where the server of this data folder said that it listens; empty when none runs.
func ownAddress(home string) (string, error) {
	text, err := os.ReadFile(addressFile(home))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("find the server: %w", err)
	}
	if !owner.Alive(home) {
		return "", nil // it was killed: anybody may listen there by now
	}
	return strings.TrimSpace(string(text)), nil
}

// configuredAddress is where a server would listen if it ran.
func configuredAddress(cmd *cobra.Command) (string, error) {
	file, err := configFile(cmd, true)
	if err != nil {
		return "", err
	}
	c, err := config.Load(file)
	if err != nil {
		return sdk.DefaultBaseURL, nil // serve says what is wrong with it
	}
	host := c.API.Host
	if net.ParseIP(host).IsUnspecified() { // every address of this machine
		host = "localhost"
	}
	scheme := "http://"
	if c.API.TLS.Cert != "" {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, strconv.Itoa(c.API.Port)), nil
}

// isOwn reports whether the address is that of this data folder's server.
func isOwn(base *url.URL, own string) bool {
	u, err := url.Parse(own)
	if err != nil || own == "" || base.Scheme != u.Scheme || base.Port() != u.Port() {
		return false
	}
	return base.Hostname() == u.Hostname() || isLoopback(base.Hostname()) && isLoopback(u.Hostname())
}

// isLoopback reports whether the host is this machine.
func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// apiKey is the key to call with: that of the file, of $IRIS_API_KEY, or the local user's. The
// last goes to this data folder's own server alone: whoever else listens on the port that Iris
// would have must not come by it. No key is no error: the server says whether it needs one.
func apiKey(file, home string, own bool) (string, error) {
	if file == "" {
		if key := os.Getenv("IRIS_API_KEY"); key != "" || !own {
			return key, nil
		}
		key, err := os.ReadFile(localKeyFile(home))
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("the local user's key has gone from %s: start Iris again, which makes a new one, or name a key with --key-file", localKeyFile(home))
		}
		if err != nil {
			return "", fmt.Errorf("read the local user's key: %w", err)
		}
		return strings.TrimSpace(string(key)), nil
	}
	key, err := os.ReadFile(file)
	if err != nil {
		return "", usage("read the key: %w", err)
	}
	if len(strings.TrimSpace(string(key))) == 0 {
		return "", usage("%s holds no key", file)
	}
	return strings.TrimSpace(string(key)), nil
}
