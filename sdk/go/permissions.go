package iris

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// Permissions are what agents want leave for. They need the scope processes:manage, but for
// those of one's own messages where the team forwards them.
type Permissions struct{ client *Client }

// Permission is a tool call that an agent wants leave for.
type Permission struct {
	ID        string          `json:"id"`
	MessageID string          `json:"messageId"`
	Team      string          `json:"team"`
	From      string          `json:"from"`   // who asked the team: a team, "api" or "local"
	Caller    string          `json:"caller"` // the name of the key, when From is "api"
	Tool      string          `json:"tool"`
	Input     json.RawMessage `json:"input"`
	CreatedAt Time            `json:"createdAt"`
	ExpiresAt Time            `json:"expiresAt"` // denied then
	Decision  string          `json:"decision"`  // "allow" or "deny", or open
	Reason    string          `json:"reason"`
}

// Decision answers a Permission.
type Decision struct {
	Allow   bool
	Message string            // told to the agent when denied
	Answers map[string]string // to the questions of the tool AskUserQuestion, each by its text
}

// List is what waits for a decision, the oldest first. Who asks for it counts for a while as
// there to decide, so that the server keeps permissions open instead of denying them.
func (p *Permissions) List(ctx context.Context) ([]Permission, error) {
	var list struct {
		Permissions []Permission `json:"permissions"`
	}
	err := p.client.do(ctx, call{method: http.MethodGet, path: "/permissions"}, &list)
	return list.Permissions, err
}

// Decide answers a permission that waits; the first answer counts. CodeNotFound when it no
// longer waits.
func (p *Permissions) Decide(ctx context.Context, id string, d Decision) (*Permission, error) {
	body := struct {
		Decision string            `json:"decision"`
		Message  string            `json:"message,omitempty"`
		Answers  map[string]string `json:"answers,omitempty"`
	}{"deny", d.Message, d.Answers}
	if d.Allow {
		body.Decision = "allow"
	}
	var decided Permission
	err := p.client.do(ctx, call{method: http.MethodPost, path: "/permissions/" + url.PathEscape(id), body: body}, &decided)
	if err != nil {
		return nil, err
	}
	return &decided, nil
}
