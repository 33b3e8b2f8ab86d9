//go:build contract

package contract_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iris-mcp/iris-mcp/agent/agenttest"
)

// The examples of the design, as printed. Only the address, the key and the expressions of the
// CI system are put in, as their users do.

const exampleAsk = `
# Ask the backend team a question programmatically
curl -X POST http://localhost:3100/api/v1/teams/backend/ask \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer your-api-key" \
  -d '{
    "question": "What database migration system do you use?",
    "timeout": 30000
  }'
`

const exampleReview = `
          curl -X POST http://iris.internal/api/v1/teams/code-reviewer/ask \
            -H "Authorization: Bearer ${{ secrets.IRIS_API_KEY }}" \
            -d "{\"question\": \"Review PR #${{ github.event.pull_request.number }}\"}" \
            | jq -r '.response' > review.md
`

const exampleKey = `
# Generate new API key
iris-mcp api-key create --name "ci-cd-pipeline" --scope teams:read,teams:write
`

const exampleConfig = `
// iris-config.yaml
{
  "api": {
    "enabled": true,
    "port": 3100,
    "auth": {
      "type": "bearer", // or "basic", "jwt"
      "keys": [
        {
          "name": "ci-cd-pipeline",
          "key": "iris_sk_abc123...",
          "scopes": ["teams:read", "teams:write"],
          "rateLimit": {
            "requests": 100,
            "window": "1m"
          }
        }
      ]
    }
  }
}
`

const exampleAskBody = `
{
  "question": "What database migration system do you use?",
  "timeout": 30000,
  "context": {
    "source": "github-webhook",
    "metadata": {
      "pr_number": 123,
      "author": "john.doe"
    }
  }
}
`

const exampleExecuteBody = `
{
  "task": "Run npm audit and fix any vulnerabilities with auto-fixable patches",
  "priority": "normal",
  "callback": {
    "url": "https://api.example.com/webhooks/iris",
    "method": "POST",
    "headers": {
      "Authorization": "Bearer webhook-secret"
    }
  }
}
`

const exampleStreamBody = `
{
  "message": "Explain the authentication flow step by step",
  "stream": true
}
`

const exampleStream = `
event: start
data: {"messageId":"msg_stream_123","team":"backend"}

event: chunk
data: {"text":"The authentication flow consists of several steps:\n\n"}

event: chunk
data: {"text":"1. User submits credentials to POST /auth/login\n"}

event: tool_use
data: {"tool":"Read","file":"src/auth/jwt.ts"}

event: chunk
data: {"text":"4. Return token to client in response body\n"}

event: complete
data: {"duration":4532,"timestamp":1704067200000}
`

const exampleAnswer = `
{
  "messageId": "msg_abc123",
  "team": "backend",
  "question": "What database migration system do you use?",
  "response": "We use Prisma for database migrations. Our migration files are located in prisma/migrations/ and we run them using 'npx prisma migrate deploy' in production.",
  "duration": 2847,
  "timestamp": 1704067200000,
  "metadata": {
    "filesAccessed": ["prisma/schema.prisma", "package.json"],
    "toolsUsed": ["Read", "Grep"]
  }
}
`

const exampleAccepted = `
{
  "jobId": "job_xyz789",
  "team": "backend",
  "status": "queued",
  "estimatedCompletion": 1704067500000,
  "position": 3
}
`

const exampleMessage = `
{
  "messageId": "msg_abc123",
  "jobId": "job_xyz789",
  "team": "backend",
  "status": "processing",
  "progress": {
    "current": 3,
    "total": 5,
    "percentage": 60
  },
  "createdAt": 1704067200000,
  "startedAt": 1704067205000,
  "estimatedCompletion": 1704067220000
}
`

const exampleHistory = `
{
  "messages": [
    {
      "messageId": "msg_abc123",
      "from": "api",
      "to": "backend",
      "message": "What database indexes exist?",
      "response": "We have indexes on...",
      "status": "completed",
      "duration": 2847,
      "timestamp": 1704067200000
    }
  ],
  "pagination": {
    "page": 1,
    "limit": 50,
    "total": 247,
    "hasNext": true
  }
}
`

// script is what the agents of the examples do; an audit waits in the middle.
const script = `migration system: [[tool Read {"file_path":"prisma/schema.prisma"}]] [[tool Grep {"pattern":"prisma","path":"package.json"}]] [[say We use Prisma for database migrations.]]
Review PR: [[say It looks good: {question}]]
authentication flow: [[say The authentication flow consists of several steps:]] [[tool Read {"file_path":"src/auth/jwt.ts"}]] [[say Return token to client in response body]]
npm audit: [[tool TodoWrite {"todos":[{"content":"a","status":"completed","activeForm":"a"},{"content":"b","status":"in_progress","activeForm":"b"}]}]] %s [[say Fixed 3 vulnerabilities]]
database indexes: [[say We have indexes on...]]`

// examples starts a server for them, and gives what an audit waits for.
func examples(t *testing.T) (*server, gate) {
	audit := newGate(t)
	return start(t, func(config, api, teams map[string]any) {
		teams["code-reviewer"] = with(teams["frontend"].(map[string]any), nil)
		for _, team := range teams {
			env := team.(map[string]any)["env"].(map[string]any)
			env[agenttest.Script] = fmt.Sprintf(script, audit.step())
		}
	}), audit
}

// sh runs a line of a user in a shell, with the address and the key put in.
func (s *server) sh(line, key string) string {
	s.t.Helper()
	line = strings.NewReplacer(
		"http://localhost:3100", s.URL, "http://iris.internal", s.URL, "your-api-key", key,
		"${{ secrets.IRIS_API_KEY }}", key, "${{ github.event.pull_request.number }}", "17",
	).Replace(line)
	cmd := exec.CommandContext(s.t.Context(), "bash", "-ec", "set -o pipefail\n"+line)
	cmd.Dir = s.options.Home
	cmd.Env = append(s.options.Env, "IRIS_HOME="+s.options.Home)
	cmd.Env[0] = "PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%v: %s\n%s", err, stderr.String(), line)
	}
	return string(out)
}

// like wants every field of an example in an answer, with values of the same type.
func like(t *testing.T, where string, example, got any) {
	t.Helper()
	switch want := example.(type) {
	case map[string]any:
		o, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s is %v", where, got)
			return
		}
		for name, v := range want {
			if _, ok := o[name]; !ok {
				t.Errorf("%s.%s is missing", where, name)
				continue
			}
			like(t, where+"."+name, v, o[name])
		}
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) == 0 {
			t.Errorf("%s is %v", where, got)
			return
		}
		like(t, where+"[0]", want[0], list[0])
	case string:
		if _, ok := got.(string); !ok {
			t.Errorf("%s is %v, no text", where, got)
		}
	case float64:
		if _, ok := got.(float64); !ok {
			t.Errorf("%s is %v, no number", where, got)
		}
	case bool:
		if _, ok := got.(bool); !ok {
			t.Errorf("%s is %v", where, got)
		}
	}
}

func parse(t *testing.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// TestExamplesOfTheShell runs the lines as printed.
func TestExamplesOfTheShell(t *testing.T) {
	t.Parallel()
	s, _ := examples(t)
	answer := parse(t, s.sh(exampleAsk, keyOf("all"))).(map[string]any)
	like(t, "answer", parse(t, exampleAnswer), answer)
	if answer["response"] != "We use Prisma for database migrations." {
		t.Errorf("%v", answer)
	}
	key := ""
	for line := range strings.Lines(s.sh(exampleKey, "")) {
		if k, ok := strings.CutPrefix(strings.TrimSpace(line), "API Key: "); ok {
			key = k
		}
	}
	s.sh(exampleReview, key) // with the key that the example before made
	review, err := os.ReadFile(filepath.Join(s.options.Home, "review.md"))
	if err != nil || string(review) != "It looks good: Review PR #17\n" {
		t.Errorf("review.md: %q %v", review, err)
	}
	out := s.sh(`curl -sN -X POST http://localhost:3100/api/v1/teams/backend/stream -H "Authorization: Bearer your-api-key" -d '`+exampleStreamBody+`'`, keyOf("all"))
	if !strings.Contains(out, "event: complete\n") {
		t.Errorf("%s", out)
	}
}

// TestExampleOfTheConfiguration: the block works as printed, its comments aside.
func TestExampleOfTheConfiguration(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	text := strings.NewReplacer("// iris-config.yaml", "", `// or "basic", "jwt"`, "").Replace(exampleConfig)
	file := filepath.Join(home, "iris-config.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "config", "check", "--config", file)
	cmd.Env = []string{"IRIS_HOME=" + home, "HOME=" + home, "PATH=" + os.Getenv("PATH")}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestExamplesOfREST sends the bodies as printed and wants the fields of the answers.
func TestExamplesOfREST(t *testing.T) {
	t.Parallel()
	s, audit := examples(t)
	like(t, "ask", parse(t, exampleAnswer), parse(t, string(s.do(req{path: "/teams/backend/ask", body: exampleAskBody}).is(200).body)))

	first := s.do(req{path: "/teams/backend/execute", body: exampleExecuteBody}).is(202)
	var processing answer
	eventually(t, func() bool {
		processing = s.do(req{path: "/messages/" + first.id("jobId")})
		return processing.json["status"] == "processing" && strings.Contains(string(processing.body), `"total":2`)
	})
	like(t, "message", parse(t, exampleMessage), parse(t, string(processing.body)))
	audit.open()
	s.finished(first.id("jobId"))
	like(t, "execute", parse(t, exampleAccepted), parse(t, string(s.do(req{path: "/teams/backend/execute", body: exampleExecuteBody}).is(202).body)))

	events := s.open(req{path: "/teams/backend/stream", body: exampleStreamBody}).rest()
	var shown []event
	for block := range strings.SplitSeq(strings.TrimSpace(exampleStream), "\n\n") {
		name, data, _ := strings.Cut(strings.TrimPrefix(block, "event: "), "\ndata: ")
		shown = append(shown, event{name: name, data: parse(t, data).(map[string]any)})
	}
	for _, want := range shown {
		found := false
		for _, e := range events {
			if e.name == want.name && !found {
				found = true
				like(t, want.name, want.data, e.data)
			}
		}
		if !found {
			t.Errorf("there is no event %s", want.name)
		}
	}

	s.do(req{path: "/teams/backend/ask", body: `{"question":"What database indexes exist?"}`}).is(200)
	like(t, "history", parse(t, exampleHistory), parse(t, string(s.do(req{path: "/messages/history?team=backend&from=api&to=backend&status=completed&limit=50&page=1&since=1704067200000"}).is(200).body)))
}
