package main

import (
	"strings"
	"testing"
)

func TestSamples(t *testing.T) {
	var s samples
	for v := range 100 {
		s.add(float64(99 - v))
	}
	if m, p := s.at(.5), s.at(.99); m != 50 || p != 99 {
		t.Errorf("median %v, p99 %v", m, p)
	}
}

func TestTheReportComparesWithTheFloor(t *testing.T) {
	b := &bench{options: options{warm: 5, claude: "claude-that-is-not-there"}, got: map[string]*samples{}}
	for what, values := range map[string][]float64{
		"floor warm": {40, 41, 42}, "http warm": {41, 41.5, 50}, "mcp warm": {41, 41.25, 41.5}, "relay warm": {42, 43, 44}, "sse warm": {41, 42, 43},
		"floor there": {30}, "http there": {31}, "mcp there": {31}, "relay there": {32},
		"floor first": {1, 2, 3}, "sse first": {1.5, 2.5, 3.5},
		"floor cold": {400}, "http cold": {420}, "http spare": {91},
		"start fresh": {30}, "start again": {20}, "memory idle": {21.5}, "memory busy": {30}, "cpu idle": {0.2},
	} {
		for _, v := range values {
			b.add(what, v)
		}
	}
	got := b.report(t.Context())
	for _, want := range []string{
		"| floor: bare pipe | 41.00 | 42.00 | 3 |",
		"| ask over HTTP | 41.50 | 50.00 | 3 | **+0.50** | +8.00 |",
		"| first `chunk` over SSE | 2.50 | 3.50 | 3 | **+0.50** | +0.50 |",
		"| ask over HTTP | 420.0 |  | 1 | 1.05 × its cold median |",
		"| 1 | +50 ms to its warm median |",
		"| … after 40 answers, MB | 30.0 |  | 1 |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	// Every row of a table has as many cells as its head.
	for table := range strings.SplitSeq(got, "\n\n") {
		rows := strings.Split(strings.TrimSpace(table), "\n")
		for _, row := range rows {
			if strings.HasPrefix(rows[0], "|") && strings.Count(row, "|") != strings.Count(rows[0], "|") {
				t.Errorf("%q has other cells than %q", row, rows[0])
			}
		}
	}
}

func TestNewSectionsTakeThePlaceOfTheOld(t *testing.T) {
	old := "# Title\n\nOld.\n\n## One\n\n1\n\n## Two\n\n2\n"
	for _, tt := range []struct{ text, want string }{
		{"## Two\n\nII\n", "# Title\n\nOld.\n\n## One\n\n1\n\n## Two\n\nII\n"},
		{"## Three\n\nIII\n", "# Title\n\nOld.\n\n## One\n\n1\n\n## Two\n\n2\n\n## Three\n\nIII\n"},
		{"# Title\n\nNew.\n\n## One\n\nI\n", "# Title\n\nNew.\n\n## One\n\nI\n\n## Two\n\n2\n"},
	} {
		if got := merge(old, tt.text); got != tt.want {
			t.Errorf("%q became %q", tt.text, got)
		}
	}
}
