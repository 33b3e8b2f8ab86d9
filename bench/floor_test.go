//go:build e2e

package main

import (
	"path/filepath"
	"testing"
)

func TestTheFloorAnswers(t *testing.T) {
	versions, err := filepath.Glob("../.cache/claude/*/claude")
	if err != nil || len(versions) == 0 {
		t.Fatal("no Claude Code is there: run `make claude`")
	}
	for _, claude := range versions {
		path, err := filepath.Abs(claude)
		if err != nil {
			t.Fatal(err)
		}
		b, err := newBench(options{claude: path})
		if err != nil {
			t.Fatal(err)
		}
		defer b.close()
		f, err := b.startFloor(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			text, id := question("floor", n)
			turn, err := f.turn(text)
			if err != nil {
				t.Fatal(err)
			}
			asked, err := b.asked(id)
			said := asked.FirstDelta
			if err != nil || turn.first.Before(said) || turn.first.Sub(said) > turn.took {
				t.Errorf("%v: the first word was said at %v, printed at %v, in a turn of %v", err, said, turn.first, turn.took)
			}
			t.Logf("%s: turn %v, first word %v after it was said", claude, turn.took, turn.first.Sub(said))
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
