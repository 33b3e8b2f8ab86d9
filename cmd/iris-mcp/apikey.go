package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/auth"
	"github.com/iris-mcp/iris-mcp/internal/config"
	"github.com/iris-mcp/iris-mcp/internal/store"
	"github.com/spf13/cobra"
)

func apiKeyCmd() *cobra.Command {
	return group("api-key", "Make, list and revoke API keys", apiKeyCreateCmd(), apiKeyListCmd(), apiKeyRevokeCmd())
}

func apiKeyCreateCmd() *cobra.Command {
	var o struct {
		name, expires string
		scopes        string
		teams         []string
		json          bool
	}
	cmd := &cobra.Command{
		Use:   "create --name NAME --scope SCOPE[,SCOPE…]",
		Short: "Make an API key and print it, this once",
		Long: `Make an API key and print it, this once: only its hash is kept. It counts at once, whether the
server runs or not.

The scopes:
  teams:read         see the teams and what they do
  messages:write     ask, execute, cancel (with teams:read)
  messages:stream    follow answers while they are written
  messages:read      read the messages of other callers
  teams:write        messages:write and messages:stream in one
  processes:read     see in an error what the processes said
  admin:*, *         everything; "x:*" is every "x:…"
teams:delete and processes:manage are for what the API cannot do yet.`,
		Example: `  iris-mcp api-key create --name ci-cd-pipeline --scope teams:read,messages:write --team backend --expires 90d`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			key, err := newKey(o.name, o.scopes, o.expires, now)
			if err != nil {
				return err
			}
			if err := knownTeams(cmd, o.teams); err != nil {
				return err
			}
			key.Teams = o.teams
			secret, hash := auth.NewKey()
			key.Hash = hash
			err = withStore(cmd, func(ctx context.Context, db *store.DB) error { return db.CreateKey(ctx, key) })
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), struct {
					Key string `json:"key"`
					keyView
				}{secret, viewKey(key, "", now)})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "API Key: %s\nSave this key securely - it won't be shown again!\n", secret)
			return err
		},
	}
	cmd.Flags().StringVar(&o.name, "name", "", "what the key is for: a name of its own")
	cmd.Flags().StringVar(&o.scopes, "scope", "", "what the key may do, with commas between")
	cmd.Flags().StringVar(&o.expires, "expires", "", "how long it is good: 12h, 90d (default: until it is revoked)")
	cmd.Flags().StringSliceVar(&o.teams, "team", nil, "the only teams that it reaches (default: all)")
	cmd.Flags().BoolVar(&o.json, "json", false, "print it as JSON")
	return cmd
}

// newKey is the key that the flags describe, without its secret.
func newKey(name, scopes, expires string, now time.Time) (iris.Key, error) {
	if !iris.KeyName.MatchString(name) {
		return iris.Key{}, usage("name the key after what it is for: --name ci-cd-pipeline (at most 128 visible characters, no colon)")
	}
	key := iris.Key{Name: name, CreatedAt: now}
	var err error
	if key.Scopes, err = auth.ParseScopes(scopes); err != nil {
		e, _ := errors.AsType[*iris.Error](err)
		return iris.Key{}, usage("--scope: %s", e.Message)
	}
	if expires != "" {
		age, err := parseAge(expires)
		if err != nil {
			return iris.Key{}, usage("--expires: %w; it looks like 12h or 90d", err)
		}
		key.ExpiresAt = now.Add(age)
	}
	return key, nil
}

// knownTeams refuses names that are no team of the configuration.
func knownTeams(cmd *cobra.Command, names []string) error {
	if len(names) == 0 {
		return nil
	}
	c, err := loadConfig(cmd)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := c.Team(name); err != nil {
			return err
		}
	}
	return nil
}

func apiKeyListCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the API keys: their names, never the keys",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			views := []keyView{}
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			for _, k := range c.Keys {
				views = append(views, viewKey(k, c.File, now))
			}
			err = withStore(cmd, func(ctx context.Context, db *store.DB) error {
				keys, err := db.Keys(ctx)
				for _, k := range keys {
					views = append(views, viewKey(k, "", now))
				}
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]any{"keys": views})
			}
			return printKeys(cmd.OutOrStdout(), views)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

// keyView is a key as it is shown: without its hash.
type keyView struct {
	Name      string       `json:"name"`
	State     string       `json:"state"` // valid, expired or revoked
	Scopes    []iris.Scope `json:"scopes"`
	Teams     []string     `json:"teams,omitempty"`
	CreatedAt int64        `json:"createdAt,omitempty"` // Unix milliseconds, as all times
	ExpiresAt int64        `json:"expiresAt,omitempty"`
	RevokedAt int64        `json:"revokedAt,omitempty"`
	File      string       `json:"file,omitempty"` // the configuration, if the key stands there
}

func viewKey(k iris.Key, file string, now time.Time) keyView {
	ms := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.UnixMilli()
	}
	v := keyView{
		Name: k.Name, State: "valid", Scopes: k.Scopes, Teams: k.Teams, File: file,
		CreatedAt: ms(k.CreatedAt), ExpiresAt: ms(k.ExpiresAt), RevokedAt: ms(k.RevokedAt),
	}
	switch {
	case !k.RevokedAt.IsZero():
		v.State = "revoked"
	case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
		v.State = "expired"
	}
	return v
}

func printKeys(w io.Writer, keys []keyView) error {
	if len(keys) == 0 {
		_, err := fmt.Fprintln(w, "no API key yet; make one: iris-mcp api-key create --name NAME --scope teams:read,messages:write")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSTATE\tSCOPES\tTEAMS\tEXPIRES\tKEPT IN")
	for _, k := range keys {
		scopes := make([]string, len(k.Scopes))
		for i, s := range k.Scopes {
			scopes[i] = string(s)
		}
		expires := "never"
		if k.ExpiresAt != 0 {
			expires = time.UnixMilli(k.ExpiresAt).Format(time.DateTime)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", k.Name, k.State, strings.Join(scopes, ","),
			cmp.Or(strings.Join(k.Teams, ","), "all"), expires, cmp.Or(k.File, "the data folder"))
	}
	return t.Flush()
}

func apiKeyRevokeCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "Revoke an API key, at once and for good",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf(`which one? iris-mcp api-key revoke NAME; "iris-mcp api-key list" shows the names`)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			err := withStore(cmd, func(ctx context.Context, db *store.DB) error { return db.RevokeKey(ctx, name, time.Now()) })
			if iris.CodeOf(err) == iris.CodeNotFound {
				c, loadErr := loadConfig(cmd)
				if loadErr == nil && slices.ContainsFunc(c.Keys, func(k iris.Key) bool { return k.Name == name }) {
					return fail(exitNotFound, "the API key %q stands in %s: remove it there", name, c.File)
				}
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "the API key %q is revoked\n", name)
			return err
		},
	}
}

// withStore opens the record of the data folder, which a server may have open too, and closes
// it again.
func withStore(cmd *cobra.Command, do func(context.Context, *store.DB) error) (err error) {
	home, err := homeDir(cmd)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w; name another one with IRIS_HOME", err)
	}
	db, err := store.Open(cmd.Context(), storeFile(home))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return do(cmd.Context(), db)
}

// loadConfig reads the configuration that the command line means.
func loadConfig(cmd *cobra.Command) (*config.Config, error) {
	file, err := configFile(cmd, true)
	if err != nil {
		return nil, err
	}
	c, err := config.Load(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage("%w", err)
	}
	return c, err
}
