//go:build contract

package contract_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// event is a server-sent event.
type event struct {
	id, name string
	at       time.Time
	raw      string // all its lines
	data     map[string]any
}

// stream is an open stream of events.
type stream struct {
	t   testing.TB
	doc *document
	res *http.Response
	in  *bufio.Reader
}

// open sends a request that is answered by events. It holds the answer's head to the contract.
func (s *server) open(r req) *stream {
	s.t.Helper()
	res, err := client.Do(s.request(r))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 {
		body, _ := io.ReadAll(res.Body)
		s.t.Fatalf("status %d: %s", res.StatusCode, body)
	}
	if kind := res.Header.Get("Content-Type"); kind != "text/event-stream" {
		s.t.Errorf("Content-Type: %s", kind)
	}
	if res.Header.Get("X-Accel-Buffering") != "no" || res.Header.Get("X-Request-Id") == "" {
		s.t.Errorf("the header is %v", res.Header)
	}
	seen.note(s.doc, res.Request, 200)
	return &stream{s.t, s.doc, res, bufio.NewReader(res.Body)}
}

// next reads one event as the specification of server-sent events says; false at the end of
// the stream. Comments are events without a name.
func (st *stream) next() (event, bool) {
	st.t.Helper()
	var e event
	var data []string
	for {
		line, err := st.in.ReadString('\n')
		if err != nil {
			if line != "" || e.raw != "" {
				st.t.Errorf("the stream ends within an event: %q", e.raw+line)
			}
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
				st.t.Errorf("the stream ends with %v", err)
			}
			return event{}, false
		}
		e.at, e.raw = time.Now(), e.raw+line
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "\n":
			if len(data) > 0 {
				if err := json.Unmarshal([]byte(strings.Join(data, "\n")), &e.data); err != nil {
					st.t.Errorf("the data is no JSON object: %v: %q", err, e.raw)
				}
				st.doc.event(st.t, e.name, []byte(strings.Join(data, "\n")))
			}
			return e, true
		case name == "id":
			e.id = value
		case name == "event":
			e.name = value
		case name == "data":
			data = append(data, value)
		case name != "":
			st.t.Errorf("a line of an event is %q", line)
		}
	}
}

// until reads up to the first event of that name.
func (st *stream) until(name string) event {
	st.t.Helper()
	for {
		e, ok := st.next()
		if !ok {
			st.t.Fatalf("the stream ended before %s", name)
		}
		if e.name == name {
			return e
		}
	}
}

// rest reads to the end, without the comments.
func (st *stream) rest() []event {
	st.t.Helper()
	var all []event
	for {
		e, ok := st.next()
		if !ok {
			return all
		}
		if e.name != "" {
			all = append(all, e)
		}
	}
}

// names are the events' names, several chunks as one.
func names(events []event) string {
	var all []string
	for _, e := range events {
		if len(all) == 0 || e.name != "chunk" || all[len(all)-1] != "chunk" {
			all = append(all, e.name)
		}
	}
	return strings.Join(all, " ")
}

// text is what the chunks say.
func text(events []event) string {
	var b strings.Builder
	for _, e := range events {
		if e.name == "chunk" {
			b.WriteString(fmt.Sprint(e.data["text"]))
		}
	}
	return b.String()
}

// numbered wants the events of one message with the numbers from first on, without gaps.
func numbered(t testing.TB, events []event, first int) (messageID string) {
	t.Helper()
	for i, e := range events {
		id, n, _ := strings.Cut(e.id, ":")
		if messageID == "" {
			messageID = id
		}
		if !idForm.MatchString(id) || id != messageID || n != strconv.Itoa(first+i) {
			t.Errorf("event %d has the id %q", first+i, e.id)
		}
	}
	return messageID
}
