package store_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

func TestEventsAreReadAsTheyWereStored(t *testing.T) {
	db, path := open(t)
	m := accept(t, db, ask("api", ci, named("pr-1")))
	at := time.UnixMilli(1_800_000_000_123).UTC()
	want := []iris.Event{
		{MessageID: m.ID, Seq: 1, At: m.CreatedAt, Kind: iris.EventStart, Team: "api", SessionID: "pr-1"},
		{MessageID: m.ID, Seq: 2, At: at, Kind: iris.EventChunk, Text: "a <b> & \x00 \u2028 ü"},
		{MessageID: m.ID, Seq: 3, At: at, Kind: iris.EventToolUse, Tool: &iris.Tool{ID: "t", Name: "Read", File: "go.mod", Input: json.RawMessage(`{"file_path":"<x>"}`)}},
		{MessageID: m.ID, Seq: 4, At: at, Kind: iris.EventPermission, Permission: &iris.Permission{ID: "p", Tool: "Bash", Decision: "deny", Reason: "nobody is there"}},
		{MessageID: m.ID, Seq: 5, At: at, Kind: iris.EventError, Duration: time.Second, Err: &iris.Error{
			Code: iris.CodeProcess, Message: "it died", Details: map[string]any{"exitCode": 1.0}, Retry: true,
		}},
	}
	if err := db.AppendEvents(t.Context(), want[1:]); err != nil {
		t.Fatal(err)
	}
	db = reopen(t, path)
	got, err := db.Events(t.Context(), m.ID, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read\n%+v, want\n%+v", got, want)
	}
}

func TestEventsOfEverySizeOfBatch(t *testing.T) {
	db, _ := open(t)
	for _, size := range []int{0, 1, 3, 4, 5, 15, 16, 63, 64, 65, 85, 150} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			id := fmt.Sprint("msg_", size)
			var events []iris.Event
			for i := range size {
				events = append(events, iris.Event{MessageID: id, Seq: int64(i + 1), Kind: iris.EventChunk, Text: fmt.Sprint(i)})
			}
			if err := db.AppendEvents(t.Context(), events); err != nil {
				t.Fatal(err)
			}
			got, err := db.Events(t.Context(), id, 0, 1000)
			if err != nil || !reflect.DeepEqual(got, events) {
				t.Errorf("%d events came back (%v)", len(got), err)
			}
			if last, err := db.LastSeq(t.Context(), id); err != nil || last != int64(size) {
				t.Errorf("the last number is %d (%v)", last, err)
			}
		})
	}
}

// TestLargeEventsAreReadAFewAtATime: but none is left out, however large.
func TestLargeEventsAreReadAFewAtATime(t *testing.T) {
	db, _ := open(t)
	var events []iris.Event
	for i := range 10 {
		events = append(events, iris.Event{MessageID: "msg_1", Seq: int64(i + 1), Kind: iris.EventChunk, Text: strings.Repeat("a", 100_000*(i%5))})
	}
	if err := db.AppendEvents(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	var got []iris.Event
	for reads := 0; ; reads++ {
		some, err := db.Events(t.Context(), "msg_1", int64(len(got)), 512)
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, e := range some {
			size += len(e.Text)
		}
		if size > 64<<10+400_000 {
			t.Errorf("%d bytes at once", size)
		}
		if got = append(got, some...); len(some) == 0 {
			if reads < 4 {
				t.Errorf("all was read in %d reads", reads)
			}
			break
		}
	}
	if !reflect.DeepEqual(got, events) {
		t.Errorf("%d events came back", len(got))
	}
}

func TestEventsAfterANumber(t *testing.T) {
	db, _ := open(t)
	for _, id := range []string{"msg_a", "msg_b"} {
		for seq := range int64(10) {
			if err := db.AppendEvents(t.Context(), []iris.Event{{MessageID: id, Seq: seq + 1, Kind: iris.EventChunk}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name  string
		id    string
		after int64
		limit int
		want  []int64
	}{
		{"from the first", "msg_a", 0, 3, []int64{1, 2, 3}},
		{"from the middle to the end", "msg_a", 8, 100, []int64{9, 10}},
		{"after the last there is none", "msg_a", 10, 100, nil},
		{"of a message that does not exist there is none", "msg_c", 0, 100, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			events, err := db.Events(t.Context(), tt.id, tt.after, tt.limit)
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, e := range events {
				if e.MessageID != tt.id {
					t.Errorf("an event of %s", e.MessageID)
				}
				got = append(got, e.Seq)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestANumberIsGivenOnce(t *testing.T) {
	db, _ := open(t)
	m := accept(t, db, ask("api", local)) // has number 1
	err := db.AppendEvents(t.Context(), []iris.Event{
		{MessageID: m.ID, Seq: 2, Kind: iris.EventChunk}, {MessageID: m.ID, Seq: 1, Kind: iris.EventChunk},
	})
	if err == nil {
		t.Error("number 1 was given twice")
	}
	if last, err := db.LastSeq(t.Context(), m.ID); err != nil || last != 1 {
		t.Errorf("the last number is %d (%v), want 1: all or none", last, err)
	}
}

func TestEventsAreReadWhileOthersAreWritten(t *testing.T) {
	db, _ := open(t)
	const events = 60
	var wg sync.WaitGroup
	for w := range 2 {
		id := fmt.Sprint("msg_", w)
		wg.Go(func() {
			for seq := range int64(events) {
				if err := db.AppendEvents(t.Context(), []iris.Event{{MessageID: id, Seq: seq + 1, Kind: iris.EventChunk}}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for after := int64(0); after < events; {
				got, err := db.Events(t.Context(), id, after, 1000)
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range got {
					if after++; e.Seq != after {
						t.Errorf("number %d follows %d", e.Seq, after-1)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}
