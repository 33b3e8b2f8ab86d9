package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheStatusLineIsRedrawnAndTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var screen bytes.Buffer
		l := startStatusLine(&screen, 26)
		l.Show("backend · Read a.go")
		time.Sleep(1500 * time.Millisecond)
		l.Hide()
		time.Sleep(3 * time.Second) // hidden: nothing is drawn
		l.Show("a very long\ttext that\nhas no room")
		l.Close()
		const draw, clear = "\r\x1b[K\x1b[2m", "\r\x1b[K"
		want := draw + "backend · Read a.go (0 s)\x1b[0m" + draw + "backend · Read a.go (1 s)\x1b[0m" + clear +
			draw + "a very long text t… (4 s)\x1b[0m" + clear
		if got := screen.String(); got != want {
			t.Errorf("drew %q\nwant %q", got, want)
		}
	})
}

func TestNoStatusLineWithoutATerminal(t *testing.T) {
	l := newStatusLine(&bytes.Buffer{})
	l.Show("nothing") // a nil line takes it all
	l.Hide()
	l.Close()
	if l != nil {
		t.Error("there is a line")
	}
}

func TestATerminalIsGivenNoOrders(t *testing.T) {
	const hostile = "a\x1b]0;title\x07b\x1b[2Jc\r\u009b31md\te\nf\x7f"
	if got := printable(hostile); got != "a]0;titleb[2Jc31md\te\nf" || strings.ContainsRune(got, 0x1b) {
		t.Errorf("%q", got)
	}
}

func TestASpanIsSaidAsAPersonWould(t *testing.T) {
	for d, want := range map[time.Duration]string{
		42 * time.Millisecond: "42 ms", 2847 * time.Millisecond: "2.8 s", 15 * time.Second: "15 s", 5 * time.Minute: "5 min", 5 * time.Hour: "5 h", 72 * time.Hour: "3 days",
	} {
		if got := span(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}

func TestAnAge(t *testing.T) {
	for text, want := range map[string]time.Duration{"30m": 30 * time.Minute, "90d": 90 * 24 * time.Hour, "1.5d": 36 * time.Hour} {
		if got, err := parseAge(text); err != nil || got != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "x", "-1d", "0s", "99999999d", "NaNd", "infd"} {
		if got, err := parseAge(text); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}
