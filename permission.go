package iris

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// ToolAskUser is the tool with which an agent asks a person something. It comes as a permission
// whose allowance carries the answers.
const ToolAskUser = "AskUserQuestion"

// Permission is a tool call for which the agent asks leave. The tagged fields are what an
// event stores.
type Permission struct {
	ID        string          `json:"id"`
	Tool      string          `json:"tool"`
	Input     json.RawMessage `json:"input,omitempty"`
	Decision  string          `json:"decision,omitempty"` // "allow" or "deny", once decided
	Reason    string          `json:"reason,omitempty"`   // why, in words for a person
	ExpiresAt time.Time       `json:"expiresAt,omitzero"` // denied then, while it is open

	MessageID string    `json:"-"`
	Team      string    `json:"-"`
	Caller    Caller    `json:"-"` // who asked the team; Kind and Name only
	AskedAt   time.Time `json:"-"`
}

// Decision answers a Permission.
type Decision struct {
	Allow   bool
	Message string            // to the model, when denied
	Answers map[string]string // to the questions of ToolAskUser, when allowed
}

// Word is the decision as the wire has it.
func (d Decision) Word() string {
	if d.Allow {
		return "allow"
	}
	return "deny"
}

// Questions are what the agent asks with ToolAskUser; none for any other tool.
func (p Permission) Questions() []string {
	if p.Tool != ToolAskUser {
		return nil
	}
	var in struct {
		Questions []struct {
			Question string `json:"question"`
		} `json:"questions"`
	}
	json.Unmarshal(p.Input, &in) // what is no question needs no answer
	var all []string
	for _, q := range in.Questions {
		all = append(all, q.Question)
	}
	return all
}

// CheckAnswers is INVALID_REQUEST unless an allowance answers each of the agent's questions
// and nothing else. Any text is an answer: the options that the agent names are proposals.
func (p Permission) CheckAnswers(d Decision) error {
	if !d.Allow && len(d.Answers) == 0 {
		return nil
	}
	bad := func(format string, args ...any) error {
		problem := fmt.Sprintf(format, args...)
		return Errorf(CodeInvalidRequest, "answers %s", problem).With("errors", []map[string]string{{"field": "answers", "problem": problem}})
	}
	questions := p.Questions()
	left := len(d.Answers)
	for _, q := range questions {
		if strings.TrimSpace(d.Answers[q]) == "" {
			return bad("must have one to each question that the agent asks, as {%q: \"…\"}; or deny", q)
		}
		left--
	}
	switch {
	case left > 0 && len(questions) == 0:
		return bad("are for the tool %s; %s asks for leave only", ToolAskUser, p.Tool)
	case left > 0:
		return bad("has what the agent did not ask; it asks %q", questions)
	}
	return nil
}
