package iris

import (
	"strings"
	"unicode/utf8"
)

// Summary is the first paragraph of the response, cut to 280 characters.
func (m Message) Summary() string {
	const most = 280
	text := strings.TrimSpace(strings.ReplaceAll(m.Response, "\r\n", "\n"))
	text, _, _ = strings.Cut(text, "\n\n")
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}
