package model

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// apiRequest is what matters of a call of the Messages API.
type apiRequest struct {
	Model     string                `json:"model"`
	Stream    bool                  `json:"stream"`
	MaxTokens int                   `json:"max_tokens"`
	Messages  []apiMessage          `json:"messages"`
	Tools     []apiTool             `json:"tools"`
	Thinking  struct{ Type string } `json:"thinking"`
	Output    struct {
		Format *struct {
			Schema struct {
				Required []string `json:"required"`
			} `json:"schema"`
		} `json:"format"`
	} `json:"output_config"`
	Metadata struct {
		UserID string `json:"user_id"`
	} `json:"metadata"`
}

type apiTool struct {
	Name string `json:"name"`
}

type apiMessage struct {
	Role    string `json:"role"`
	Content blocks `json:"content"`
}

// blocks is a message's content: the API also takes a plain string for one text block.
type blocks []block

type block struct {
	Type    string `json:"type"`
	Text    string `json:"text"`    // text
	ID      string `json:"id"`      // tool_use
	Content blocks `json:"content"` // tool_result
}

func (b *blocks) UnmarshalJSON(data []byte) error {
	data = bytes.TrimSpace(data)
	if len(data) > 0 && data[0] == '"' {
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
		*b = blocks{{Type: "text", Text: text}}
		return nil
	}
	return json.Unmarshal(data, (*[]block)(b))
}

func (b blocks) text() string {
	var parts []string
	for _, x := range b {
		if x.Type == "text" {
			parts = append(parts, x.Text)
		}
	}
	return strings.Join(parts, "\n")
}

// conversation is a request as the script sees it.
type conversation struct {
	text      string   // the user's last text
	steered   bool     // its markers count
	earlier   []string // the user's texts before it
	round     int      // model calls since then
	results   []string // tool results since then
	begun     bool     // the model has spoken before
	project   string   // the CLAUDE.md files the CLI put in front
	tools     []string // offered
	deferred  bool     // …and more behind ToolSearch
	mentioned string   // what the CLI said itself, where it lists deferred tools
}

// loadPrefix begins the ids of ToolSearch calls that the model makes by itself to get at a
// deferred tool. They are no rounds of the script.
const loadPrefix = "toolu_load"

// read makes sense of the messages. What the CLI wraps around the user's words differs by
// version: reminders are blocks of their own or stand within one, and notes about local
// commands, interrupts and cut answers are texts of the role user (seen with Claude Code
// 2.1.197 and 2.1.330).
func read(req *apiRequest) *conversation {
	c := &conversation{}
	for _, t := range req.Tools {
		c.tools = append(c.tools, t.Name)
		c.deferred = c.deferred || t.Name == "ToolSearch"
	}
	speaking := false // the last message was the model's
	for _, m := range req.Messages {
		switch m.Role {
		case "assistant":
			c.begun = true
			if !speaking && !loads(m.Content) {
				c.round++
			}
			speaking = true
			continue
		case "system":
			c.mentioned += m.Content.text() + "\n"
		case "user":
			for _, b := range m.Content {
				switch b.Type {
				case "tool_result":
					c.results = append(c.results, strings.TrimSpace(reminder.ReplaceAllString(b.Content.text(), "")))
				case "text":
					c.hear(b.Text)
				}
			}
		}
		speaking = false
	}
	return c
}

// hear takes in a text of the role user.
func (c *conversation) hear(text string) {
	for _, r := range reminder.FindAllString(text, -1) {
		c.project += instructions(r)
		c.mentioned += r + "\n"
	}
	if strings.HasPrefix(text, "<system-reminder>") {
		text = reminder.ReplaceAllString(text, "")
	}
	said := strings.TrimSpace(text)
	notice := strings.HasPrefix(said, "<task-notification>")
	if said == "" || !notice && cliMade.MatchString(said) {
		return
	}
	if c.text != "" {
		c.earlier = append(c.earlier, c.text)
	}
	c.text, c.steered, c.round, c.results = text, !notice, 0, nil
}

func loads(b blocks) bool {
	for _, x := range b {
		if x.Type == "tool_use" && strings.HasPrefix(x.ID, loadPrefix) {
			return true
		}
	}
	return false
}

var (
	reminder = regexp.MustCompile(`(?s)<system-reminder>.*?</system-reminder>\s*`)

	// cliMade are texts of the role user that the CLI writes itself.
	cliMade = regexp.MustCompile(`^(<system-reminder>|<local-command-|<command-name>|<command-message>|` +
		`\[Request interrupted by user|This session is being continued from|Output token limit hit|Your previous response was cut off|` +
		`Continue from where you left off|Your response above was stopped by a safety classifier|Tool loaded\.$)`)

	// An instructions file within a reminder, up to the next one or the next heading of
	// the CLI's own.
	projectFile = regexp.MustCompile(`(?s)Contents of [^\n]*CLAUDE[^\n]*\.md[^\n]*:\n\n`)
	projectEnd  = regexp.MustCompile(`\n(Contents of /|# currentDate\n|# userEmail\n| *IMPORTANT: this context|</system-reminder>)`)
)

// instructions are the CLAUDE.md files that a reminder holds.
func instructions(reminder string) string {
	var all strings.Builder
	for {
		at := projectFile.FindStringIndex(reminder)
		if at == nil {
			return all.String()
		}
		reminder = reminder[at[1]:]
		body := reminder
		if end := projectEnd.FindStringIndex(body); end != nil {
			body = body[:end[0]]
		}
		all.WriteString(strings.TrimSpace(body) + "\n")
	}
}

// wrapping is what Iris puts in front of a caller's words: who asks, and the context.
var wrapping = regexp.MustCompile(`^Message through Iris from [^\n]*:\n(<iris-context[^\n]*\n)?\n`)

// words are the caller's own: without wrapping, and with the @ back that Iris keeps the CLI
// from expanding.
func words(text string) string {
	return strings.ReplaceAll(wrapping.ReplaceAllString(text, ""), "@\u200b", "@")
}

// plain is a user's text for a person to read, on one line.
func plain(text string) string { return strings.Join(strings.Fields(strip(words(text))), " ") }

// question is what the user asked.
func (c *conversation) question() string { return plain(c.text) }

func (c *conversation) remembered() string {
	if len(c.earlier) == 0 {
		return "nothing, this is the first question"
	}
	var b strings.Builder
	for i, text := range c.earlier {
		fmt.Fprintf(&b, "%d. %s\n", i+1, cmp.Or(plain(text), words(text)))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (c *conversation) result() string {
	if len(c.results) == 0 {
		return ""
	}
	return c.results[len(c.results)-1]
}

// response is what somebody said who was asked through a tool: the field of that name of the
// last result, when it is a JSON object that has one, else all of it.
func (c *conversation) response() string {
	var said struct{ Response *string }
	if json.Unmarshal([]byte(c.result()), &said) == nil && said.Response != nil {
		return *said.Response
	}
	return c.result()
}

// side names what the CLI wants beside the conversation; empty: this is the conversation.
func (r *apiRequest) side(c *conversation) string {
	switch {
	case r.Output.Format != nil:
		return "format" // a title, as JSON
	case r.MaxTokens == 1:
		return "quota"
	case strings.HasPrefix(c.text, "CRITICAL: Respond with TEXT ONLY"), strings.Contains(c.text, "Your task is to create a detailed summary of"):
		return "summary"
	case len(r.Tools) == 0 && r.Thinking.Type == "disabled":
		return "other"
	}
	return ""
}
