package main

import (
	"context"
	"log/slog"
	"slices"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/auth"
	"github.com/iris-mcp/iris-mcp/internal/config"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

// keysOf knows who may call: the local user, the file's keys and the store's, and whom the
// file trusts beside them.
func keysOf(home string, db *store.DB, live *config.Live, log *slog.Logger) (*auth.Auth, error) {
	local, err := auth.LocalKey(home)
	if err != nil {
		return nil, err
	}
	return auth.New(auth.Config{
		Store: db, Keys: live.Keys, LocalHash: auth.Hash(local),
		Standing: func() bool { return live.Get().API.Standing() },
		Basic:    func() bool { return live.Get().API.Auth.Type == "basic" },
		JWT: func() (auth.JWT, bool) {
			a := live.Get().API.Auth
			return auth.JWT{Secret: string(a.JWT.Secret), JWKS: a.JWT.JWKS, Issuer: a.JWT.Issuer, Audience: a.JWT.Audience}, a.Type == "jwt"
		},
		Log: log,
	}), nil
}

// warnOfKeys says which keys of the store reach a team that is not there, as the configuration
// does of its own, and which have the name of one in the configuration.
func warnOfKeys(ctx context.Context, db *store.DB, c *config.Config, log *slog.Logger) {
	keys, err := db.Keys(ctx)
	if err != nil {
		log.Warn("the API keys cannot be read", "error", err)
		return
	}
	for _, k := range keys {
		if k.Valid() && slices.ContainsFunc(c.Keys, func(other iris.Key) bool { return other.Name == k.Name }) {
			log.Warn("an API key of the data folder has the name of one in the configuration: to Iris they are one caller", "key", k.Name)
		}
		for _, team := range k.Teams {
			if _, err := c.Team(team); err != nil && k.Valid() {
				log.Warn("an API key is bound to a team that does not exist", "key", k.Name, "team", team)
			}
		}
	}
}
