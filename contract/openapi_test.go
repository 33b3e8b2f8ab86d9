//go:build contract

package contract_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// document is the served OpenAPI document. Every answer of every test is held to it.
type document struct {
	raw  map[string]any
	mu   sync.Mutex // of schemas: they are compiled once
	file *jsonschema.Compiler
	have map[string]*jsonschema.Schema
}

var documents sync.Map // by text: most servers serve the same one

func (s *server) document() *document {
	s.t.Helper()
	res, err := http.Get(s.URL + "/openapi.json")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		s.t.Fatalf("/openapi.json: %s, %v", res.Status, err)
	}
	if d, ok := documents.Load(string(text)); ok {
		return d.(*document)
	}
	d := &document{file: jsonschema.NewCompiler(), have: map[string]*jsonschema.Schema{}}
	if err := json.Unmarshal(text, &d.raw); err != nil {
		s.t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := d.file.AddResource("openapi.json", parsed); err != nil {
		s.t.Fatal(err)
	}
	documents.Store(string(text), d)
	return d
}

// at is a part of the document.
func (d *document) at(path ...string) any {
	var v any = d.raw
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

// schema compiles the schema at the place.
func (d *document) schema(path ...string) (*jsonschema.Schema, error) {
	where := "openapi.json#"
	for _, name := range path {
		where += "/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.have[where]; s != nil {
		return s, nil
	}
	s, err := d.file.Compile(where)
	if err == nil {
		d.have[where] = s
	}
	return s, err
}

// operation finds the documented path of a request; empty if there is none.
func (d *document) operation(r *http.Request) string {
	parts := strings.Split(r.URL.EscapedPath(), "/")
	paths, _ := d.at("paths").(map[string]any)
	best := ""
	for path, ops := range paths {
		names := strings.Split(path, "/")
		if ops.(map[string]any)[strings.ToLower(r.Method)] == nil || len(names) != len(parts) {
			continue
		}
		fits := true
		for i, name := range names {
			fits = fits && (name == parts[i] || strings.HasPrefix(name, "{"))
		}
		if fits && (best == "" || strings.Count(path, "{") < strings.Count(best, "{")) {
			best = path
		}
	}
	return best
}

// check holds an answer to the document: its status, its type, its headers, and the shape of
// its body. An answer to what the document does not know has the shape of an error.
func (d *document) check(t testing.TB, r *http.Request, a answer) {
	t.Helper()
	if a.header.Get("X-Request-Id") == "" {
		t.Errorf("%s %s: no X-Request-Id", r.Method, r.URL.Path)
	}
	path := d.operation(r)
	if path == "" {
		if a.status < 400 && r.Method != http.MethodOptions && r.Method != http.MethodHead {
			t.Errorf("%s %s answers %d and is not documented", r.Method, r.URL.Path, a.status)
		} else if a.status >= 400 {
			d.fits(t, a, "components", "schemas", "Error")
		}
		return
	}
	what := fmt.Sprintf("%s %s %d", r.Method, path, a.status)
	place := []string{"paths", path, strings.ToLower(r.Method), "responses", strconv.Itoa(a.status)}
	documented, _ := d.at(place...).(map[string]any)
	if documented == nil {
		t.Errorf("%s is not documented: %.300s", what, a.body)
		return
	}
	seen.note(d, r, a.status)
	if ref, ok := documented["$ref"].(string); ok {
		place = strings.Split(strings.TrimPrefix(ref, "#/"), "/")
		documented = d.at(place...).(map[string]any)
	}
	if headers, ok := documented["headers"].(map[string]any); ok {
		for name := range headers {
			if a.header.Get(name) == "" && !strings.HasPrefix(name, "X-RateLimit-") && name != "Idempotent-Replayed" {
				t.Errorf("%s: the header %s is missing", what, name)
			}
		}
	}
	content, _ := documented["content"].(map[string]any)
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	switch {
	case len(content) == 0 && len(a.body) > 0:
		t.Errorf("%s has a body: %.300s", what, a.body)
	case len(content) > 0 && content[kind] == nil:
		t.Errorf("%s has the type %q, documented are %v", what, kind, slices.Sorted(maps.Keys(content)))
	case kind == "application/json":
		d.fits(t, a, append(place, "content", kind, "schema")...)
	}
}

// event holds the data of an event to x-events.
func (d *document) event(t testing.TB, name string, data []byte) {
	t.Helper()
	all, _ := d.at("x-events").([]any)
	for _, e := range all {
		e := e.(map[string]any)
		if e["event"] == name {
			ref := e["data"].(map[string]any)["$ref"].(string)
			d.fits(t, answer{body: data}, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			return
		}
	}
	t.Errorf("the event %s is not documented", name)
}

// fits holds the body to the schema at the place.
func (d *document) fits(t testing.TB, a answer, place ...string) {
	t.Helper()
	schema, err := d.schema(place...)
	if err != nil {
		t.Errorf("the schema %s: %v", strings.Join(place, "/"), err)
		return
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.body))
	if err == nil {
		err = schema.Validate(v)
	}
	if err != nil {
		t.Errorf("an answer is not as documented (%s): %v: %.500s", strings.Join(place, "/"), err, a.body)
	}
}

// seen are the answers that there were, so that none of the documented ones goes untested.
var seen = &coverage{all: map[string]bool{}, codes: map[int]bool{}}

type coverage struct {
	mu    sync.Mutex
	doc   *document
	all   map[string]bool // GET /path 200
	codes map[int]bool
}

func (c *coverage) note(d *document, r *http.Request, status int) {
	path := d.operation(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doc = d
	c.all[fmt.Sprint(r.Method, " ", path, " ", status)] = true
	c.codes[status] = true
}

// unseen are documented answers that these tests cannot bring about, and why.
var unseen = map[string]string{}

// check says which documented answers no test has seen: each operation's own ones, and of the
// errors that all share each status once. It does so when the whole suite ran.
func (c *coverage) check() (code int) {
	for _, arg := range os.Args {
		if strings.HasPrefix(arg, "-test.run=") && arg != "-test.run=" || strings.HasPrefix(arg, "-test.skip=") && arg != "-test.skip=" {
			return 0
		}
	}
	if c.doc == nil {
		return 0
	}
	paths, _ := c.doc.at("paths").(map[string]any)
	for path, ops := range paths {
		for method, op := range ops.(map[string]any) {
			for status := range op.(map[string]any)["responses"].(map[string]any) {
				n, _ := strconv.Atoi(status)
				what := strings.ToUpper(method) + " " + path + " " + status
				own := n < 400 || n == 408
				if unseen[what] == "" && (own && !c.all[what] || !c.codes[n]) {
					fmt.Fprintln(os.Stderr, "no test has seen", what)
					code = 1
				}
			}
		}
	}
	return code
}
