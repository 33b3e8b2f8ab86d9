package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/iris-mcp/iris-mcp/httpapi"
)

const openapiFile = "../docs/openapi.json"

// TestOpenAPI holds docs/openapi.json to what the code says and the server serves, byte for
// byte; scripts/generate.sh rewrites it.
func TestOpenAPI(t *testing.T) {
	w := newFront(httpapi.Config{}).do(call{path: "/openapi.json", key: "-"})
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatal(w.Code, w.Header())
	}
	if *update {
		if err := os.WriteFile(openapiFile, w.Body.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(openapiFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(w.Body.Bytes(), want) {
		t.Errorf("%s is not what the code says: run scripts/generate.sh and read the difference", openapiFile)
	}
}

// TestOpenAPISaysEverything finds what nobody has described.
func TestOpenAPISaysEverything(t *testing.T) {
	var doc any
	if err := json.Unmarshal(newFront(httpapi.Config{}).do(call{path: "/openapi.json", key: "-"}).Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	at := func(v any, path ...string) any {
		for _, name := range path {
			m, _ := v.(map[string]any)
			v = m[name]
		}
		return v
	}
	members := func(v any) map[string]any { m, _ := v.(map[string]any); return m }
	said := func(where string, v any) {
		if s, _ := v.(string); s == "" {
			t.Errorf("%s is not described", where)
		} else if strings.ContainsAny(s, "<>&") {
			t.Errorf("%s: %q would be escaped in JSON: write {name} for a placeholder", where, s)
		}
	}
	for name, schema := range members(at(doc, "components", "schemas")) {
		for field, s := range members(at(schema, "properties")) {
			said("the field "+field+" of "+name, at(s, "description"))
			if pattern, _ := at(s, "pattern").(string); strings.Contains(strings.ToLower(pattern), `\p`) {
				t.Errorf("the pattern of %s of %s is Go's alone: %s", field, name, pattern)
			}
		}
	}
	for path, ops := range members(at(doc, "paths")) {
		for method, op := range members(ops) {
			where := strings.ToUpper(method) + " " + path
			said(where, at(op, "summary"))
			params, _ := at(op, "parameters").([]any)
			for _, p := range params {
				said(where+": "+fmt.Sprint(at(p, "name")), at(p, "description"))
			}
			for status, answer := range members(at(op, "responses")) {
				if at(answer, "$ref") != nil {
					continue
				}
				said(where+" "+status, at(answer, "description"))
				if n, _ := strconv.Atoi(status); n >= 200 && at(answer, "headers", "X-Request-Id") == nil {
					t.Errorf("%s %s: the header X-Request-Id is not there", where, status)
				}
				if json := at(answer, "content", "application/json"); json != nil && path != "/openapi.json" && at(json, "example") == nil {
					t.Errorf("%s %s has no example", where, status)
				}
			}
			if body := at(op, "requestBody", "content", "application/json"); body != nil && at(body, "example") == nil {
				t.Errorf("%s: its body has no example", where)
			}
		}
	}
}

// TestOpenAPIHasAllEvents holds x-events to the kinds of events that there are.
func TestOpenAPIHasAllEvents(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == "EventKind" {
				kind, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				want[kind] = true
			}
		}
		return true
	})
	var doc struct {
		Events []struct {
			Event string
			Last  bool
			Data  struct {
				Ref string `json:"$ref"`
			}
		} `json:"x-events"`
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(newFront(httpapi.Config{}).do(call{path: "/openapi.json", key: "-"}).Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, e := range doc.Events {
		got[e.Event] = true
		if doc.Components.Schemas[strings.TrimPrefix(e.Data.Ref, "#/components/schemas/")] == nil {
			t.Errorf("%s has the data %q, which is no schema", e.Event, e.Data.Ref)
		}
		if last := e.Event == "complete" || e.Event == "error"; e.Last != last {
			t.Errorf("%s: last is %t", e.Event, e.Last)
		}
	}
	if len(want) < 5 || !maps.Equal(got, want) {
		t.Errorf("the document has the events %v, event.go has %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}
