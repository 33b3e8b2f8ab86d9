package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/store"
	"github.com/spf13/cobra"
)

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
	State     string       `json:"state"` // valid, replaced (and still good), expired or revoked
	Scopes    []iris.Scope `json:"scopes"`
	Teams     []string     `json:"teams,omitempty"`
	Limit     string       `json:"limit"` // 100/1m, or unlimited
	Tier      iris.Tier    `json:"tier,omitempty"`
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
		Limit: k.Allows().String(), Tier: k.Tier,
		CreatedAt: ms(k.CreatedAt), ExpiresAt: ms(k.ExpiresAt), RevokedAt: ms(k.RevokedAt),
	}
	switch {
	case !k.RevokedAt.IsZero():
		v.State = "revoked"
	case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
		v.State = "expired"
	case !k.ReplacedAt.IsZero():
		v.State = "replaced"
	}
	return v
}

func printKeys(w io.Writer, keys []keyView) error {
	if len(keys) == 0 {
		_, err := fmt.Fprintln(w, "no API key yet; make one: iris-mcp api-key create --name NAME --scope teams:read,messages:write")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSTATE\tSCOPES\tTEAMS\tLIMIT\tEXPIRES\tKEPT IN")
	for _, k := range keys {
		scopes := make([]string, len(k.Scopes))
		for i, s := range k.Scopes {
			scopes[i] = string(s)
		}
		expires := "never"
		if k.ExpiresAt != 0 {
			expires = time.UnixMilli(k.ExpiresAt).Format(time.DateTime)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.Name, k.State, strings.Join(scopes, ","),
			cmp.Or(strings.Join(k.Teams, ","), "all"), k.Limit, expires, cmp.Or(k.File, "the data folder"))
	}
	return t.Flush()
}
