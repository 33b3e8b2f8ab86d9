package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"gopkg.in/yaml.v3"

	iris "github.com/iris-mcp/iris-mcp"
)

// schemaFiles are the same, one for the program to print and one for editors to be pointed at.
var schemaFiles = []string{"iris-config.schema.json", "../../docs/iris-config.schema.json"}

// TestTheSchemaIsTrue holds the JSON Schema to the types; scripts/generate.sh rewrites it.
func TestTheSchemaIsTrue(t *testing.T) {
	want := schema(t)
	for _, file := range schemaFiles {
		if flag.Lookup("update").Value.String() == "true" {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the types say (%v): run scripts/generate.sh", file, err)
		}
	}
}

// What Load takes fits the schema, and what it refuses for a key or a value does not.
func TestTheSchemaKnowsWhatIsGood(t *testing.T) {
	var s jsonschema.Schema
	if err := json.Unmarshal(schema(t), &s); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("P", "1")
	example, err := os.ReadFile("../../iris-config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	good := []string{
		string(example), regexp.MustCompile(`(?m)^( +)# (.*)$`).ReplaceAllString(string(example), "$1$2"),
		"{}", "teams:\n", "api: {port: '3100'}", "api: {port: '${P}', enabled: off, maxBodyBytes: 2 MiB}", "api: {enabled: '${IRIS_NOT_SET:-yes}'}",
		"settings: {idleTimeout: 300000, turnTimeout: 1.5h, logLevel: debug}", "teams: {a: {path: ., env: {A: 1, B: true}, warm: 0, model: 5}}",
		"api: {trustedProxies: [10.0.0.0/8], cors: {origins: ['*']}}", "webhooks: {retryDelays: [5s, 60000]}",
		"api: {auth: {keys: [{name: a, keyHash: " + strings.Repeat("ab", 32) + ", scopes: ['*'], expiresAt: 2030-01-01, rateLimit: {requests: 1, window: 1m}}]}}",
	}
	t.Setenv("IRIS_CI_KEY", "iris_sk_0123456789012345678901234567890123456789")
	for _, text := range good {
		if _, err := parse("/nowhere/iris-config.yaml", []byte(text)); err != nil {
			t.Errorf("%s\nis refused: %v", text, err)
		}
		if err := resolved.Validate(plainJSON(t, text)); err != nil {
			t.Errorf("%s\ndoes not fit: %v", text, err)
		}
	}
	for _, text := range []string{
		"api: {prot: 1}", "api: {port: 70000}", "api: {port: x}", "api: {enabled: maybe}", "api: []", "settings: {idleTimeout: 10 minutes}", "settings: {idleTimeout: 0}",
		"settings: {logLevel: warning}", "teams: {a: {description: x}}", "teams: {../a: {path: .}}", "teams: {a: {path: ., warm: -1}}", "teams: {a: {path: ., allowedTools: Read}}",
		"teams: {a: {path: ., allowedTools: [-p]}}", "api: {auth: {keys: [{name: a}]}}", "api: {auth: {keys: [{name: a, key: iris_sk_12345678, scopes: ['no:such']}]}}",
		"maxProcesses: 1", "queue: {backend: redis}", "api: {maxBodyBytes: 1 megabyte}",
	} {
		if _, err := parse("/nowhere/iris-config.yaml", []byte(text)); err == nil {
			t.Errorf("%s\nis taken", text)
		}
		if err := resolved.Validate(plainJSON(t, text)); err == nil {
			t.Errorf("%s\nfits", text)
		}
	}
}

// plainJSON is a text of YAML as an editor holds it against a schema.
func plainJSON(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// schema is the JSON Schema of the file, of draft 7, which editors know best.
func schema(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	meanings := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|[^|]*\\|[^|]*\\| (.+) \\|$").FindAllStringSubmatch(string(text), -1) {
		meanings[m[1]] = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(m[2], "$1")
	}
	doc := defaults()
	team := teamDefaults()
	doc.Teams = map[string]Team{"<name>": team}
	s := describe(reflect.ValueOf(doc), "", "", meanings)
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	s["title"] = "iris-config.yaml"
	s["description"] = "The configuration of Iris"
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

type object = map[string]any

// describe is the schema of a value that holds its default.
func describe(v reflect.Value, tag reflect.StructTag, key string, meanings map[string]string) object {
	s := object{}
	kind := kindOf(v.Type())
	switch kind {
	case wantStruct:
		properties, required := object{}, []string{}
		for _, f := range fields(v) {
			at := strings.TrimPrefix(key+"."+f.key, ".")
			properties[f.key] = describe(f.value, f.tag, at, meanings)
			if strings.HasPrefix(meanings[at], "Required") {
				required = append(required, f.key)
			}
		}
		s["type"], s["properties"], s["additionalProperties"] = []string{"object", "null"}, properties, false
		if len(required) > 0 {
			s["type"], s["required"] = "object", required
		}
	case wantMap:
		s["type"] = []string{"object", "null"}
		if entry := v.MapIndex(reflect.ValueOf("<name>")); entry.IsValid() {
			s["additionalProperties"] = describe(entry, "", key+".<name>", meanings)
			s["propertyNames"] = object{"pattern": iris.TeamName.String()}
			break
		}
		s["additionalProperties"] = describe(reflect.Zero(v.Type().Elem()), "", "", nil)
		s["propertyNames"] = object{"pattern": envName.String()}
	case wantList:
		item := describe(reflect.Zero(v.Type().Elem()), tag, key+"[]", meanings)
		switch {
		case v.Type() == reflect.TypeFor[[]iris.Scope]():
			all := []any{}
			for _, scope := range iris.Scopes {
				all = append(all, scope)
			}
			item = either(object{"enum": all}, `^(teams|messages|processes):\\*$`)
		case strings.HasSuffix(key, "llowedTools"):
			item = object{"type": "string", "pattern": `^\s*[^\s-]`}
		}
		s["type"], s["items"] = []string{"array", "null"}, item
	case wantBool:
		s = either(object{"type": "boolean"}, "^([Tt]rue|[Ff]alse|[Yy]es|[Nn]o|[Oo]n|[Oo]ff)$")
	case wantInt:
		number := object{"type": "integer"}
		for limit, name := range map[string]string{"min": "minimum", "max": "maximum"} {
			if n, ok := bound(tag, limit); ok {
				number[name] = n
			}
		}
		s = either(number, "^[0-9]+$")
	case wantDuration:
		s = either(object{"type": "integer", "minimum": 1}, `^[0-9]+$|^[0-9]+(\\.[0-9]+)? ?(ms|s|m|h|d)$`)
	case wantBytes:
		s = either(object{"type": "integer", "minimum": 1}, `^[0-9]+$|^[0-9]+(\\.[0-9]+)? ?(B|KB|MB|GB|KiB|MiB|GiB)$`)
	case wantTime:
		s["type"] = []string{"integer", "string", "null"}
	case wantPrefix:
		s["type"] = "string"
	case wantText:
		s["type"] = []string{"string", "number", "boolean", "null"}
		if words := strings.Fields(tag.Get("oneof")); len(words) > 0 {
			s = either(object{"enum": words}, "")
		}
	}
	if says := meanings[key]; says != "" {
		s["description"] = says
	}
	if byDefault := strings.Trim(value(v, tag), "`"); byDefault != "none" && says(kind) && meanings[key] != "" {
		s["default"] = byDefault
		if n, err := strconv.Atoi(byDefault); err == nil && kind == wantInt {
			s["default"] = n
		} else if kind == wantBool {
			s["default"] = byDefault == "true"
		}
	}
	return s
}

// says reports whether the default of such a thing is one word.
func says(k want) bool { return k != wantStruct && k != wantMap && k != wantList }

// either is a value as it is, text that the reader takes for one, text with a variable in it,
// or nothing.
func either(is object, text string) object {
	patterns := []any{is, object{"type": "null"}, object{"type": "string", "pattern": `\$\{`}}
	if text != "" {
		patterns = append(patterns, object{"type": "string", "pattern": strings.ReplaceAll(text, `\\`, `\`)})
	}
	return object{"anyOf": patterns}
}
