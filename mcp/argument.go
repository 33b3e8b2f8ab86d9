package mcp

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"

	iris "github.com/iris-mcp/iris-mcp"
)

// maxTimeout is the longest a caller may say that it will wait.
const maxTimeout = 24 * time.Hour

// decode checks a tool's arguments against its schema, in words that help a model to correct
// them, and reads them into args. A null is taken as absent. INVALID_REQUEST, with a list of
// {field, problem} in its details.
func decode(tool string, schema *jsonschema.Schema, arguments any, args any) error {
	var given map[string]any
	switch a := arguments.(type) {
	case nil:
	case map[string]any:
		given = maps.Clone(a)
	default:
		return iris.Errorf(iris.CodeInvalidRequest, "the arguments of %s are a JSON object: %s", tool, takes(schema))
	}
	maps.DeleteFunc(given, func(_ string, v any) bool { return v == nil })

	type fault struct {
		Field   string `json:"field"`
		Problem string `json:"problem"`
	}
	var faults []fault
	for _, name := range schema.Required {
		if _, ok := given[name]; !ok {
			faults = append(faults, fault{name, "is missing"})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		property := schema.Properties[name]
		if property == nil {
			faults = append(faults, fault{name, "is not an argument of " + tool})
		} else if problem := check(property, given[name]); problem != "" {
			faults = append(faults, fault{name, problem})
		}
	}
	if len(faults) > 0 {
		var text []string
		for _, f := range faults {
			text = append(text, fmt.Sprintf("%q %s", f.Field, f.Problem))
		}
		return iris.Errorf(iris.CodeInvalidRequest, "%s. %s takes %s", strings.Join(text, "; "), tool, takes(schema)).
			With("problems", faults)
	}
	raw, err := json.Marshal(given)
	if err != nil {
		return fmt.Errorf("encode arguments of %s: %w", tool, err)
	}
	if err := json.Unmarshal(raw, args); err != nil {
		return fmt.Errorf("decode arguments of %s: %w", tool, err)
	}
	return nil
}

// takes lists what a tool takes: "team, question; optional: timeout, sessionId".
func takes(schema *jsonschema.Schema) string {
	var required, optional []string
	for _, name := range schema.PropertyOrder {
		if slices.Contains(schema.Required, name) {
			required = append(required, name)
		} else {
			optional = append(optional, name)
		}
	}
	switch {
	case len(required)+len(optional) == 0:
		return "no arguments"
	case len(optional) == 0:
		return strings.Join(required, ", ")
	case len(required) == 0:
		return "optional: " + strings.Join(optional, ", ")
	}
	return strings.Join(required, ", ") + "; optional: " + strings.Join(optional, ", ")
}

// check says what is wrong with a value, as words that follow its name; "" means nothing. It
// knows every keyword that the schemas of the tools' arguments use.
func check(s *jsonschema.Schema, v any) string {
	if s.AnyOf != nil {
		var problems []string
		for _, one := range s.AnyOf {
			problem := check(one, v)
			if problem == "" {
				return ""
			}
			problems = append(problems, problem)
		}
		return strings.Join(problems, ", or ")
	}
	switch s.Type {
	case "string":
		text, ok := v.(string)
		switch {
		case !ok:
			return "must be text, not " + kind(v)
		case s.MinLength != nil && strings.TrimSpace(text) == "":
			return "is empty"
		case s.MaxLength != nil && utf8.RuneCountInString(text) > *s.MaxLength:
			return fmt.Sprintf("is longer than %d characters", *s.MaxLength)
		case s.Enum != nil && !slices.Contains(s.Enum, any(text)):
			return fmt.Sprintf("must be one of %s, not %q", join(s.Enum), text)
		}
	case "integer":
		n, ok := v.(float64)
		switch {
		case !ok || n != math.Trunc(n):
			return "must be a whole number of milliseconds, not " + kind(v)
		case n < *s.Minimum || n > *s.Maximum:
			return fmt.Sprintf("must be from %.0f to %.0f (milliseconds)", *s.Minimum, *s.Maximum)
		}
	case "array":
		list, ok := v.([]any)
		switch {
		case !ok:
			return "must be a list, not " + kind(v)
		case s.MinItems != nil && len(list) < *s.MinItems:
			return "is an empty list"
		}
		for i, item := range list {
			if problem := check(s.Items, item); problem != "" {
				return fmt.Sprintf("has an item %d that %s", i+1, problem)
			}
		}
	}
	return ""
}

func join(words []any) string {
	var text []string
	for _, w := range words {
		text = append(text, fmt.Sprint(w))
	}
	return strings.Join(text, ", ")
}

// kind names what a JSON value is.
func kind(v any) string {
	switch v := v.(type) {
	case string:
		return "text"
	case float64:
		return fmt.Sprint(v)
	case bool:
		return fmt.Sprint(v)
	case []any:
		return "a list"
	default:
		return "an object"
	}
}
