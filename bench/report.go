package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// samples are what was measured of one thing.
type samples struct{ values []float64 }

func (s *samples) add(v float64) { s.values = append(s.values, v) }

// at is the value below which that share of the samples lies.
func (s *samples) at(share float64) float64 {
	sorted := slices.Sorted(slices.Values(s.values))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// report is the text of docs/benchmarks.md.
func (b *bench) report(ctx context.Context) string {
	var w strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&w, format+"\n", args...) }
	p("# Benchmarks\n")
	p("What Iris adds to the bare Claude Code CLI, which is the *floor*: the same CLI with the same arguments on a bare pipe, with")
	p("the same scripted model ([how](scripted-model.md)), in the same run. Floor and Iris take turns in random order, so that whatever")
	p("else the machine does hits both alike. The model answers at once: with a real one its seconds come on top, for both.\n")
	p("`make bench`, on %s.\n", time.Now().UTC().Format(time.DateOnly))
	p("| | |\n| --- | --- |")
	for _, row := range machine(ctx, b.claude) {
		p("| %s | %s |", row[0], row[1])
	}

	p("\n## An answer from a running process\n")
	p("Milliseconds from the question to the whole answer, of a conversation that has a process.\n")
	p("| | median | p99 | n | added to the floor's median | to its p99 | mark |\n| --- | --- | --- | --- | --- | --- | --- |")
	p("| floor: bare pipe | %s |  |  |  |", b.cells("floor warm"))
	for _, row := range [][2]string{
		{"ask over HTTP", "http warm"}, {"stream over SSE, to its end", "sse warm"}, {"`ask_team` over MCP stdio", "mcp warm"}, {"`ask_team` through a relay", "relay warm"},
	} {
		p("| %s | %s | %s | ≤ 1 ms, p99 ≤ 5 ms |", row[0], b.cells(row[1]), b.added(row[1], "floor warm"))
	}

	p("\nOf that, the milliseconds until the model is asked, so that the two directions can be told apart:\n")
	p("| | median | p99 | n | added to the floor's median | to its p99 |\n| --- | --- | --- | --- | --- | --- |")
	p("| floor: bare pipe | %s |  |  |", b.cells("floor there"))
	for _, row := range [][2]string{{"HTTP", "http there"}, {"MCP stdio", "mcp there"}, {"a relay", "relay there"}} {
		p("| %s | %s | %s |", row[0], b.cells(row[1]), b.added(row[1], "floor there"))
	}

	p("\n## The first words\n")
	p("Milliseconds from the moment the model sends the first piece of its answer until it is read.\n")
	p("| | median | p99 | n | added to the floor's median | to its p99 | mark |\n| --- | --- | --- | --- | --- | --- | --- |")
	p("| floor: bare pipe | %s |  |  |  |", b.cells("floor first"))
	p("| first `chunk` over SSE | %s | %s | ≤ 1 ms |", b.cells("sse first"), b.added("sse first", "floor first"))

	p("\n## An answer from a new process\n")
	p("Milliseconds from the question to the whole answer, with the start of the CLI in between.\n")
	p("| | median | p99 | n | against the floor | mark |\n| --- | --- | --- | --- | --- | --- |")
	cold, spare := b.got["http cold"].at(.5), b.got["http spare"].at(.5)
	p("| floor: bare pipe | %s |  |  |", b.cells("floor cold"))
	p("| ask over HTTP | %s | %.2f × its cold median | ≤ 1.05 × |", b.cells("http cold"), cold/b.got["floor cold"].at(.5))
	p("| … with a spare process (`warm: 1`) | %s | %+.0f ms to its warm median | ≤ +150 ms |", b.cells("http spare"), spare-b.got["floor warm"].at(.5))

	p("\n## The server itself\n")
	p("| | median | p99 | n | mark |\n| --- | --- | --- | --- | --- |")
	p("| start to `/readyz`, ms | %s | ≤ 100 |", b.cells("start again"))
	p("| … with a new data folder, ms | %s |  |", b.cells("start fresh"))
	p("| memory when idle, MB | %s | ≤ 40 |", b.cells("memory idle"))
	p("| … after %d answers, MB | %s |  |", 4*(b.options.warm+5), b.cells("memory busy"))
	p("| CPU when idle, %% of a core | %s | ~0 |", b.cells("cpu idle"))
	return w.String()
}

// cells are the median, the p99 and the number of samples.
func (b *bench) cells(what string) string {
	s := b.got[what]
	if len(s.values) == 1 {
		return fmt.Sprintf("%.1f |  | 1", s.values[0])
	}
	return fmt.Sprintf("%.2f | %.2f | %d", s.at(.5), s.at(.99), len(s.values))
}

// added is by how much one thing is slower than another.
func (b *bench) added(what, floor string) string {
	s, f := b.got[what], b.got[floor]
	return fmt.Sprintf("**%+.2f** | %+.2f", s.at(.5)-f.at(.5), s.at(.99)-f.at(.99))
}

// machine says where the numbers come from.
func machine(ctx context.Context, claude string) [][2]string {
	output := func(name string, args ...string) string {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env = append(os.Environ(), "DISABLE_AUTOUPDATER=1")
		out, err := cmd.Output()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(out))
	}
	cpu := "unknown"
	info, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			cpu = strings.TrimSpace(value)
			break
		}
	}
	commit := output("git", "rev-parse", "--short", "HEAD")
	if output("git", "status", "--porcelain", "--untracked-files=no") != "" {
		commit += ", with changes"
	}
	return [][2]string{
		{"machine", fmt.Sprintf("%s/%s, %d cores, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), cpu)},
		{"Go", runtime.Version()},
		{"commit", commit},
		{"Claude Code", output(claude, "--version")},
	}
}
