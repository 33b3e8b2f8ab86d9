package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	iris "github.com/iris-mcp/iris-mcp"
)

// The page at /docs is the OpenAPI document for people: one file of HTML without a script,
// made once, which loads nothing.
var (
	//go:embed docs.html
	docsHTML string
	//go:embed docs.css
	docsCSS string

	docsTemplate = template.Must(template.New("docs").Parse(docsHTML))
	docsPolicy   = "default-src 'none'; style-src 'sha256-" + hash(docsCSS) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}

type docsOut struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Policy      string `header:"Content-Security-Policy" hidden:"true"`
	Body        []byte
}

func (s *Server) serveDocs(context.Context, *request, *struct{}) (*docsOut, error) {
	return &docsOut{"text/html; charset=utf-8", docsPolicy, s.docs()}, nil
}

type homeOut struct {
	Location string `header:"Location" doc:"The documentation" example:"/docs"`
}

func (s *Server) home(context.Context, *request, *struct{}) (*homeOut, error) {
	return &homeOut{"/docs"}, nil
}

// docsPage is what the template is told.
type docsPage struct {
	CSS          template.CSS
	Title        string
	Version      string
	Introduction []string // paragraphs
	Sections     []docsSection
	Events       []docsEvent
	Frames       []docsFrames
	Errors       []docsError
}

type docsSection struct {
	Name, About string
	Operations  []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary, About string
	Short                            string // the path, for the list
	Open, Own                        bool
	Scopes                           []iris.Scope
	Parameters, Body                 []docsField
	Example                          string // a call of it
	Answers                          []docsAnswer
	Refusals                         []docsRefusal
}

type docsField struct {
	Name, In, Type, About, Rules string
	Required                     bool
}

type docsAnswer struct {
	Status      string
	About, Type string
	Headers     []docsField
	Fields      []docsField
	Example     string
}

type docsRefusal struct{ Status, Name string }

type docsEvent struct {
	Name, About string
	Last        bool
	Fields      []docsField
	Example     string
}

// docsFrames are the frames of one side of a WebSocket.
type docsFrames struct {
	Side, About string
	Frames      []docsFrame
}

type docsFrame struct {
	Name, About string
	Scopes      []iris.Scope
	Own         bool
	Fields      []docsField
	Example     string
}

type docsError struct {
	Status, Name, About string
	Headers             []string
	Examples            []string
}

// makeDocs writes the page.
func (s *Server) makeDocs() []byte {
	var buf bytes.Buffer
	if err := docsTemplate.Execute(&buf, s.docsPage()); err != nil {
		panic(err) // made of constants
	}
	return buf.Bytes()
}

func (s *Server) docsPage() docsPage {
	doc := s.api.OpenAPI()
	p := docsPage{
		CSS: template.CSS(docsCSS), Title: doc.Info.Title, Version: doc.Info.Version,
		Introduction: strings.Split(doc.Info.Description, "\n\n"),
	}
	for _, tag := range doc.Tags {
		section := docsSection{Name: tag.Name, About: tag.Description}
		for _, r := range s.table {
			if slices.Contains(r.op.Tags, tag.Name) && !r.op.Hidden {
				section.Operations = append(section.Operations, s.docsOperation(r))
			}
		}
		p.Sections = append(p.Sections, section)
	}
	for _, e := range documentedEvents(doc.Components.Schemas) {
		example, _ := exampleOf(doc.Components.Schemas, e.Data)
		p.Events = append(p.Events, docsEvent{string(e.Event), e.Description, e.Last, s.docsFields("", e.Data), compact(example)})
	}
	frames := s.documentedFrames()
	p.Frames = []docsFrames{
		{"client", "What you send", s.docsFrames(frames.Client)},
		{"server", "What you get", s.docsFrames(frames.Server)},
	}
	for _, status := range slices.Sorted(maps.Keys(refusals)) {
		r := refusals[status]
		e := docsError{Status: strconv.Itoa(status), Name: r.name, About: r.doc, Headers: r.headers}
		for _, name := range slices.Sorted(maps.Keys(doc.Components.Responses[r.name].Content["application/json"].Examples)) {
			e.Examples = append(e.Examples, indent(doc.Components.Responses[r.name].Content["application/json"].Examples[name].Value))
		}
		p.Errors = append(p.Errors, e)
	}
	return p
}

func (s *Server) docsFrames(frames []documentedFrame) (all []docsFrame) {
	for _, f := range frames {
		example, _ := exampleOf(s.api.OpenAPI().Components.Schemas, f.Frame)
		all = append(all, docsFrame{f.Type, f.Description, f.Scopes, f.Own, s.docsFields("", f.Frame), compact(example)})
	}
	return all
}

func (s *Server) docsOperation(r *route) docsOperation {
	item := s.api.OpenAPI().Paths[r.op.Path]
	op := map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put,
		http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
	}[r.op.Method]
	o := docsOperation{
		ID: op.OperationID, Method: op.Method, Path: op.Path, Short: strings.TrimPrefix(op.Path, base), Summary: op.Summary, About: op.Description,
		Open: r.open, Own: r.own, Scopes: r.scopes,
	}
	for _, in := range op.Parameters {
		o.Parameters = append(o.Parameters, docsField{in.Name, in.In, typeOf(s.resolve(in.Schema)), in.Description, rulesOf(in.Schema), in.Required})
	}
	if op.RequestBody != nil {
		o.Body = s.docsFields("", op.RequestBody.Content["application/json"].Schema)
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		answer := op.Responses[status]
		if name, refused := strings.CutPrefix(answer.Ref, "#/components/responses/"); refused {
			o.Refusals = append(o.Refusals, docsRefusal{status, name})
			continue
		}
		if len(answer.Content) == 0 {
			o.Answers = append(o.Answers, docsAnswer{Status: status, About: answer.Description})
		}
		for _, kind := range slices.Backward(slices.Sorted(maps.Keys(answer.Content))) { // events before JSON
			content := answer.Content[kind]
			a := docsAnswer{Status: status, About: answer.Description, Type: kind}
			if text, ok := content.Example.(string); ok {
				a.Example = strings.TrimSpace(text)
			} else if content.Example != nil {
				a.Example = indent(content.Example)
			}
			if kind == "application/json" {
				a.Fields = s.docsFields("", content.Schema)
			}
			for _, name := range slices.Sorted(maps.Keys(answer.Headers)) {
				if h := answer.Headers[name]; h.Ref == "" {
					a.Headers = append(a.Headers, docsField{Name: name, About: cmp.Or(h.Description, h.Schema.Description)})
				}
			}
			o.Answers = append(o.Answers, a)
		}
	}
	o.Example = curl(r, op)
	if r.socket {
		o.Example = webSocket
	}
	return o
}

// resolve follows a reference.
func (s *Server) resolve(schema *huma.Schema) *huma.Schema {
	if schema.Ref != "" {
		return s.api.OpenAPI().Components.Schemas.SchemaFromRef(schema.Ref)
	}
	return schema
}

// docsFields lists an object's fields and those of the objects in it, which have names like
// context.source and messages[].status.
func (s *Server) docsFields(prefix string, schema *huma.Schema) []docsField {
	schema = s.resolve(schema)
	var all []docsField
	for _, name := range fieldsOf(schema) {
		field := schema.Properties[name]
		inner := s.resolve(field)
		all = append(all, docsField{
			Name: prefix + name, Type: typeOf(inner), Required: slices.Contains(schema.Required, name),
			About: cmp.Or(field.Description, inner.Description), Rules: rulesOf(inner),
		})
		switch {
		case len(inner.Properties) > 0:
			all = append(all, s.docsFields(prefix+name+".", inner)...)
		case inner.Items != nil && len(s.resolve(inner.Items).Properties) > 0:
			all = append(all, s.docsFields(prefix+name+"[].", inner.Items)...)
		}
	}
	return all
}

// typeOf is a schema's type in a word or two.
func typeOf(schema *huma.Schema) string {
	name := cmp.Or(schema.Type, "any")
	switch {
	case schema.Items != nil && schema.Items.Type != "" && schema.Items.Type != huma.TypeObject:
		name = "list of " + schema.Items.Type + "s"
	case schema.Type == huma.TypeArray:
		name = "list"
	}
	if schema.Nullable {
		name += " or null"
	}
	return name
}

// rulesOf says what a value must be.
func rulesOf(schema *huma.Schema) string {
	var rules []string
	if len(schema.Enum) > 0 {
		var values []string
		for _, v := range schema.Enum {
			values = append(values, fmt.Sprint(v))
		}
		rules = append(rules, strings.Join(values, ", "))
	}
	switch {
	case schema.Minimum != nil && schema.Maximum != nil:
		rules = append(rules, fmt.Sprintf("%.0f…%.0f", *schema.Minimum, *schema.Maximum))
	case schema.Minimum != nil:
		rules = append(rules, fmt.Sprintf("at least %.0f", *schema.Minimum))
	}
	if schema.PatternDescription != "" {
		rules = append(rules, schema.PatternDescription)
	}
	if schema.MaxLength != nil {
		rules = append(rules, fmt.Sprintf("at most %d characters", *schema.MaxLength))
	}
	if schema.Default != nil {
		rules = append(rules, fmt.Sprintf("default %v", schema.Default))
	}
	return strings.Join(rules, "; ")
}

const webSocket = `// In a page; elsewhere the header Authorization does instead of the subprotocols.
const ws = new WebSocket("ws://127.0.0.1:3100/api/v1/stream", ["iris.v1", "iris.key." + key]);
ws.onopen = () => ws.send(JSON.stringify({ type: "message", team: "backend", message: "What database indexes do we have?" }));
ws.onmessage = (e) => console.log(JSON.parse(e.data));`

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

// curl is a call of the operation for a shell.
func curl(r *route, op *huma.Operation) string {
	var b strings.Builder
	b.WriteString("curl ")
	if op.Responses["200"] != nil && op.Responses["200"].Content["text/event-stream"] != nil {
		b.WriteString("-N ")
	}
	if op.Method != http.MethodGet {
		b.WriteString("-X " + op.Method + " ")
	}
	examples, query := map[string]string{}, []string{}
	for _, in := range op.Parameters {
		if in.Schema == nil || len(in.Schema.Examples) == 0 {
			continue
		}
		value := fmt.Sprint(in.Schema.Examples[0])
		switch {
		case in.In == "path":
			examples["{"+in.Name+"}"] = value
		case in.In == "query" && len(query) < 2:
			query = append(query, in.Name+"="+url.QueryEscape(value))
		}
	}
	path := placeholder.ReplaceAllStringFunc(op.Path, func(name string) string { return cmp.Or(examples[name], name) })
	if len(query) > 0 {
		path += "?" + strings.Join(query, "&")
	}
	b.WriteString(`"$IRIS` + path + `"`)
	if !r.open {
		b.WriteString(" \\\n  -H \"Authorization: Bearer $IRIS_API_KEY\"")
	}
	if op.RequestBody != nil {
		if example := op.RequestBody.Content["application/json"].Example; example != nil {
			b.WriteString(" \\\n  -d '" + strings.ReplaceAll(indent(example), "'", `'\''`) + "'")
		}
	}
	return b.String()
}

// indent is a value as JSON for people.
func indent(v any) string {
	var lines bytes.Buffer
	_ = json.Indent(&lines, []byte(compact(v)), "", "  ") // it is JSON
	return lines.String()
}

func compact(v any) string {
	var buf bytes.Buffer
	if err := encodeJSON(&buf, v); err != nil {
		panic(err) // v is one of ours
	}
	return strings.TrimSpace(buf.String())
}
