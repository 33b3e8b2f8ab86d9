package iris

import (
	"strings"
	"testing"
	"time"
)

func TestCursor(t *testing.T) {
	c := Cursor{CreatedAt: time.UnixMilli(1704067200000).UTC(), N: 1 << 40, Page: 7}
	if got, ok := ParseCursor(c.String()); !ok || got != c {
		t.Errorf("%q was read as %+v, %v", c, got, ok)
	}
	if s := (Cursor{}).String(); s != "" {
		t.Errorf("no cursor is %q", s)
	}
	for _, s := range []string{"", "x", "AAAA", c.String() + "A", c.String()[1:], strings.ToLower(c.String()), "////", c.String() + "=",
		Cursor{N: 1, Page: 0, CreatedAt: c.CreatedAt}.String(), Cursor{N: -1, Page: 1, CreatedAt: c.CreatedAt}.String(), Cursor{N: 1, Page: 1}.String()} {
		if got, ok := ParseCursor(s); ok || got != (Cursor{}) {
			t.Errorf("%q is a cursor: %+v", s, got)
		}
	}
}

// FuzzCursor: whatever is taken for a cursor is one that String may have written.
func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add(Cursor{CreatedAt: time.UnixMilli(1704067200000), N: 3, Page: 1}.String())
	f.Fuzz(func(t *testing.T, s string) {
		if c, ok := ParseCursor(s); ok && (c.String() != s || c.N < 1 || c.Page < 1) {
			t.Errorf("%q was read as %+v", s, c)
		}
	})
}
