package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

var variable = regexp.MustCompile(`^\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}`)

// expandText replaces ${VAR} and ${VAR:-default} by the environment's values, and $$ by a $.
// It is given single values, never the text of the file, so nothing can be slipped into the
// file through the environment. As in a shell, the default also stands in for a variable that
// is set to nothing. names are the variables that the text names.
func expandText(text string) (expanded string, names []string, err error) {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		out.WriteString(before)
		if !found {
			return out.String(), names, nil
		}
		text = after
		switch {
		case strings.HasPrefix(text, "$"):
			out.WriteByte('$')
			text = text[1:]
		case strings.HasPrefix(text, "{"):
			m := variable.FindStringSubmatch(text)
			if m == nil || strings.Contains(m[3], "${") {
				return "", nil, fmt.Errorf("${ is not followed by NAME} or NAME:-default}; write $${ for the two characters themselves")
			}
			names = append(names, m[1])
			value, set := os.LookupEnv(m[1])
			switch {
			case m[2] != "" && value == "":
				value = m[3]
			case !set:
				return "", nil, fmt.Errorf("the environment variable %s is not set; set it, or give a default: ${%s:-default}", m[1], m[1])
			}
			out.WriteString(value)
			text = text[len(m[0]):]
		default:
			out.WriteByte('$')
		}
	}
}

// literal writes text so that expandText gives it back.
func literal(text string) string { return strings.ReplaceAll(text, "$", "$$") }
