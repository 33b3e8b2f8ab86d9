package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/audit"
	"github.com/iris-mcp/iris-mcp/internal/auth"
	"github.com/iris-mcp/iris-mcp/internal/config"
	"github.com/iris-mcp/iris-mcp/internal/store"
	"github.com/spf13/cobra"
)

func apiKeyCmd() *cobra.Command {
	return group("api-key", "Make, list, rotate and revoke API keys", apiKeyCreateCmd(), apiKeyListCmd(), apiKeyRotateCmd(), apiKeyRevokeCmd())
}

func apiKeyCreateCmd() *cobra.Command {
	var o struct {
		keyFlags
		json bool
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
  teams:write        make and change teams, and both of messages:write and messages:stream
  teams:delete       remove teams
  processes:read     see the processes, and what they said in an error
  processes:manage   wake and end processes, decide on permissions
  admin:*, *         everything; "x:*" is every "x:…"

The limit is 100 requests in any minute, or what --tier or --rate says.`,
		Example: `  iris-mcp api-key create --name ci-cd-pipeline --scope teams:read,messages:write --team backend --expires 90d
  iris-mcp api-key create --name slack --scope teams:read,messages:write --rate 20/10s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			key, err := o.key(now)
			if err != nil {
				return err
			}
			if err := knownTeams(cmd, o.teams); err != nil {
				return err
			}
			file, ok, err := fileOfKey(cmd, o.name)
			if ok {
				return fail(exitFailed, "an API key named %q stands in %s: choose another name, for the two would be one caller", o.name, file)
			}
			noteUnread(cmd, o.name, err)
			key.Teams = o.teams
			secret, hash := auth.NewKey()
			key.Hash = hash
			err = withStore(cmd, func(ctx context.Context, db *store.DB) error { return db.CreateKey(ctx, key) })
			if err != nil {
				return err
			}
			auditLocal(cmd, iris.AuditKeyCreated, key.Name, key.Granted())
			return printKey(cmd, secret, key, o.json)
		},
	}
	cmd.Flags().StringVar(&o.name, "name", "", "what the key is for: a name of its own")
	cmd.Flags().StringVar(&o.scopes, "scope", "", "what the key may do, with commas between")
	cmd.Flags().StringVar(&o.expires, "expires", "", "how long it is good: 12h, 90d (default: until it is revoked)")
	cmd.Flags().StringVar(&o.rate, "rate", "", "its limit: 100/1m is 100 requests in any minute")
	cmd.Flags().StringVar(&o.tier, "tier", "", "its limit by name: standard (100/1m), premium (1000/1m) or enterprise (none)")
	complete(cmd, "tier", cobra.Completion(iris.TierStandard), cobra.Completion(iris.TierPremium), cobra.Completion(iris.TierEnterprise))
	cmd.Flags().StringSliceVar(&o.teams, "team", nil, "the only teams that it reaches (default: all)")
	cmd.Flags().BoolVar(&o.json, "json", false, "print it as JSON")
	return cmd
}

// keyFlags describe a key.
type keyFlags struct {
	name, expires string
	scopes        string
	teams         []string
	rate, tier    string
}

// key is the key that the flags describe, without its secret.
func (o keyFlags) key(now time.Time) (iris.Key, error) {
	if !iris.KeyName.MatchString(o.name) {
		return iris.Key{}, usage("name the key after what it is for: --name ci-cd-pipeline (at most 128 visible characters, no colon)")
	}
	key := iris.Key{Name: o.name, CreatedAt: now, Tier: iris.Tier(o.tier)}
	var err error
	if key.Scopes, err = auth.ParseScopes(o.scopes); err != nil {
		e, _ := errors.AsType[*iris.Error](err)
		return iris.Key{}, usage("--scope: %s", e.Message)
	}
	switch {
	case o.rate != "" && o.tier != "":
		return iris.Key{}, usage("a key has --rate or --tier, not both")
	case o.tier != "" && !slices.Contains(iris.Tiers, key.Tier):
		return iris.Key{}, usage("--tier: %q is none; there are standard (100/1m), premium (1000/1m) and enterprise (unlimited)", o.tier)
	case o.rate != "":
		if key.Limit, err = iris.ParseLimit(o.rate); err != nil {
			e, _ := errors.AsType[*iris.Error](err)
			return iris.Key{}, usage("--rate: %s", e.Message)
		}
	}
	if o.expires != "" {
		age, err := parseAge(o.expires)
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

// printKey shows a new key, this once.
func printKey(cmd *cobra.Command, secret string, key iris.Key, asJSON bool) error {
	if asJSON {
		return printJSON(cmd.OutOrStdout(), struct {
			Key string `json:"key"`
			keyView
		}{secret, viewKey(key, "", key.CreatedAt)})
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "API Key: %s\nSave this key securely - it won't be shown again!\n", secret)
	return err
}

func apiKeyRotateCmd() *cobra.Command {
	var grace duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Put a new API key in the place of an old one",
		Long: `Make a new API key that has the name and everything else of an old one, and print it, this once.
The old one is revoked at once, or stays good beside it for --grace, so that its users can be
told. A key that expires gets as long a life as the old one had, from now.`,
		Args: oneKeyName("rotate"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			secret, hash := auth.NewKey()
			var key iris.Key
			err := withStore(cmd, func(ctx context.Context, db *store.DB) (err error) {
				key, err = db.RotateKey(ctx, name, hash, time.Now(), time.Duration(grace))
				return err
			})
			if err != nil {
				return keyOfFile(cmd, name, err)
			}
			auditLocal(cmd, iris.AuditKeyRotated, name, map[string]any{"grace": time.Duration(grace).Milliseconds()})
			return printKey(cmd, secret, key, asJSON)
		},
	}
	cmd.Flags().Var(&grace, "grace", "how long the old key stays good: 1h, 2d (default: it is revoked at once)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

// oneKeyName is for commands that take the name of a key.
func oneKeyName(command string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf(`which one? iris-mcp api-key %s NAME; "iris-mcp api-key list" shows the names`, command)
		}
		return nil
	}
}

// keyOfFile explains why there is no key of that name in the store, if it is in the file.
func keyOfFile(cmd *cobra.Command, name string, err error) error {
	if iris.CodeOf(err) != iris.CodeNotFound {
		return err
	}
	file, ok, unread := fileOfKey(cmd, name)
	if ok {
		return fail(exitNotFound, "the API key %q stands in %s: change or remove it there", name, file)
	}
	noteUnread(cmd, name, unread)
	return err
}

// fileOfKey is the configuration if there is a key of that name in it. It fails if that cannot
// be read; the keys of the data folder can be managed all the same.
func fileOfKey(cmd *cobra.Command, name string) (file string, ok bool, err error) {
	c, err := loadConfig(cmd)
	if err != nil {
		return "", false, err
	}
	return c.File, slices.ContainsFunc(c.Keys, func(k iris.Key) bool { return k.Name == name }), nil
}

// noteUnread says that a key of that name may stand in a configuration that could not be read:
// it is broken, or it names variables that are the server's and not this terminal's.
func noteUnread(cmd *cobra.Command, name string, err error) {
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "iris-mcp: the configuration cannot be read from here, and a key named %q that stands there stays as it is; \"iris-mcp config check\" says why\n", name)
	}
}

// auditLocal writes down what the person at this machine has done.
func auditLocal(cmd *cobra.Command, action iris.AuditAction, subject string, details map[string]any) {
	home, err := homeDir(cmd)
	if err != nil {
		return // it could not have been done
	}
	log := slog.New(shownLog(cmd.ErrOrStderr(), cmd.ErrOrStderr()))
	audit.New(home, log).Record(cmd.Context(), iris.AuditEntry{
		Action: action, Subject: subject, By: iris.Caller{Kind: iris.CallerLocal}, Details: details,
	})
}

func apiKeyRevokeCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "Revoke an API key, at once and for good",
		Args:  oneKeyName("revoke"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			err := withStore(cmd, func(ctx context.Context, db *store.DB) error { return db.RevokeKey(ctx, name, time.Now()) })
			if err != nil {
				return keyOfFile(cmd, name, err)
			}
			auditLocal(cmd, iris.AuditKeyRevoked, name, nil)
			file, ok, err := fileOfKey(cmd, name)
			if ok {
				fmt.Fprintf(cmd.ErrOrStderr(), "iris-mcp: an API key named %q stands in %s, too, and stays good: take it out there\n", name, file)
			}
			noteUnread(cmd, name, err)
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
