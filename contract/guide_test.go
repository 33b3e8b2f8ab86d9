//go:build contract

package contract_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheGuideIsTrue runs every curl line of docs/api.md, as printed, against a server. Only
// what stands for something of the reader's own is put in: addresses, ids, a folder.
func TestTheGuideIsTrue(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	guide, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	message := s.ask("[[say one two three]] [[tool Read {\"file_path\":\"a\"}]] [[say four]]").id("messageId")
	job := s.do(req{path: "/teams/backend/execute", body: `{"task":"t"}`}).is(202).id("jobId")
	asking := s.open(req{path: "/teams/backend/stream", body: `{"message":"[[ask Bash {\"command\":\"npm test\"}]]"}`})
	permission := asking.until("permission").data["id"].(string)

	// curl is a function that notes the status of each answer, and puts in a process that runs.
	const prelude = `set -eu
curl() {
	local args=() a pid
	for a; do
		case $a in
		*/processes/4242)
			pid=$(command curl -sS -X POST "$IRIS/api/v1/teams/backend/wake" -H "Authorization: Bearer $IRIS_API_KEY" | sed 's/.*"pid":\([0-9]*\).*/\1/')
			a=${a/4242/$pid} ;;
		esac
		args+=("$a")
	done
	command curl -sS --max-time 60 -o "$OUT" -w "%{http_code} %{method} %{url}\n" "${args[@]}" >>"$STATUSES"
}
`
	var script strings.Builder
	script.WriteString(prelude)
	lines := 0
	for _, block := range regexp.MustCompile("(?s)```bash\n(.*?)```").FindAllStringSubmatch(string(guide), -1) {
		if n := len(regexp.MustCompile(`(?m)^curl `).FindAllString(block[1], -1)); n > 0 {
			lines += n
			script.WriteString(block[1])
		}
	}
	text := strings.NewReplacer(
		"http://127.0.0.1:3100", s.URL, "msg_01JJ…", message, "job_01JJ…", job, "per_01JJ…", permission, "/home/me/src/web", t.TempDir(),
	).Replace(script.String())
	if lines < 15 || strings.Contains(text, "…") {
		t.Fatalf("%d lines of curl, or what nobody puts in: %s", lines, text)
	}
	dir := t.TempDir()
	statuses := filepath.Join(dir, "statuses")
	cmd := exec.CommandContext(t.Context(), "bash", "-c", text)
	cmd.Env = append([]string{
		"PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH"), "IRIS_HOME=" + s.options.Home, "STATUSES=" + statuses, "OUT=" + filepath.Join(dir, "out"),
	}, s.options.Env[1:]...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(statuses)
	if err != nil {
		t.Fatal(err)
	}
	answers := strings.Split(strings.TrimSpace(string(data)), "\n")
	for _, a := range answers {
		if !strings.HasPrefix(a, "2") {
			t.Errorf("an example of the guide is answered %s", a)
		}
	}
	if len(answers) != lines {
		t.Error(fmt.Sprint(lines, " lines of curl, answers: ", answers))
	}
}
