package agent

import (
	"strings"

	iris "github.com/iris-mcp/iris-mcp"
)

// answer follows the text of a turn. What the model's stream says is a preview; an assistant
// line, one for each finished block, is the truth. Whoever reads the chunks, and throws away
// what it has at a restart, holds after each event exactly the truth so far and the preview
// of the block that is open; at the turn's end, exactly the truth.
//
// The truth is the text of all blocks in order. Between two messages, and between two texts
// of a message with something else between them, stands a blank line, for they are paragraphs
// to a reader (text, a tool call, text). Nothing stands between neighbouring blocks of a
// message, nor between a message that was cut and its continuation.
type answer struct {
	show func(iris.EventKind, string)

	truth   strings.Builder
	preview string // of the open block
	lead    string // what was shown before the preview

	streaming string // id of the message whose stream we see
	last      spoken // the last message with a finished block
	begin     int    // where in the truth its text begins
}

// spoken is what matters of a message for what comes after it.
type spoken struct {
	id       string
	lead     string // goes before its first text
	texts    bool   // it has text
	answers  bool   // it has text, or goes on with a message that has
	afterGap bool   // something other than text came after its last text
	tools    bool
	stop     string // stop_reason, once known
}

const paragraph = "\n\n"

// start begins the stream of a message. If another was open, the CLI has given it up.
func (a *answer) start(id string) {
	a.abandon()
	a.streaming = id
}

// delta shows a piece of the open block.
func (a *answer) delta(s string) {
	if s == "" {
		return
	}
	if a.preview == "" {
		a.lead = a.next(a.streaming).join()
		s, a.preview = a.lead+s, s
	} else {
		a.preview += s
	}
	a.show(iris.EventChunk, s)
}

// block takes a finished text as the truth, and mends what was shown if it was not that.
func (a *answer) block(id, stop, s string) {
	m := a.next(id)
	lead := m.join()
	if s != "" {
		if !m.answers {
			a.begin = a.truth.Len() + len(lead)
		}
		m.texts, m.answers, m.afterGap = true, true, false
		a.truth.WriteString(lead)
		a.truth.WriteString(s)
	}
	a.finished(m, stop)

	preview := a.preview
	a.preview = ""
	switch rest, ok := strings.CutPrefix(s, preview); {
	case preview == "" && s == "":
	case preview == "":
		a.show(iris.EventChunk, lead+s)
	case !ok || lead != a.lead:
		a.restart()
	case rest != "":
		a.show(iris.EventChunk, rest)
	}
}

// other notes a finished block that is no text.
func (a *answer) other(id, stop string, tool bool) {
	m := a.next(id)
	m.afterGap = true
	m.tools = m.tools || tool
	a.finished(m, stop)
}

// stopped notes why the message whose stream we see ended.
func (a *answer) stopped(reason string) {
	if a.last.id == a.streaming {
		a.last.stop = reason
	}
}

// abandon throws the preview away: its stream broke, the CLI calls the model again.
func (a *answer) abandon() {
	if a.preview != "" {
		a.preview = ""
		a.restart()
	}
}

// restart makes the reader begin anew with what still holds.
func (a *answer) restart() {
	a.show(iris.EventRestart, "")
	if a.truth.Len() > 0 {
		a.show(iris.EventChunk, a.truth.String())
	}
}

// reveal begins to show an answer of which nothing has been shown.
func (a *answer) reveal() {
	s := a.truth.String()
	if a.preview != "" {
		s += a.lead + a.preview
	}
	if s != "" {
		a.show(iris.EventChunk, s)
	}
}

// forget drops the truth so far; it belongs to somebody else. The preview stays.
func (a *answer) forget() {
	a.truth.Reset()
	a.last, a.begin, a.lead = spoken{}, 0, ""
}

// message is the whole text of the last message, with what it continues; empty if it had none.
func (a *answer) message() string {
	if !a.last.answers {
		return ""
	}
	return a.truth.String()[a.begin:]
}

// next is the message of this id as it stands: the last one, or one that follows it.
func (a *answer) next(id string) spoken {
	if id == a.last.id {
		return a.last
	}
	m := spoken{id: id, answers: a.last.answers && a.last.cut()}
	if a.truth.Len() > 0 && (!m.answers || a.last.afterGap) {
		m.lead = paragraph
	}
	return m
}

func (a *answer) finished(m spoken, stop string) {
	if stop != "" {
		m.stop = stop
	}
	a.last = m
}

// join is what stands before the message's next text.
func (m spoken) join() string {
	switch {
	case !m.texts:
		return m.lead
	case m.afterGap:
		return paragraph
	}
	return ""
}

// cut reports whether the message was not finished, so that the next one goes on with it: it
// reached the token limit, or its stream broke after some of its blocks were whole and
// 2.1.330 asks the model to resume. A message that was finished has a stop_reason other than
// that; without a stream nobody says it (max_tokens_stop), but then a message without a tool
// call is followed by another for no other reason.
func (m spoken) cut() bool {
	return m.stop == "max_tokens" || m.stop == "" && !m.tools
}
