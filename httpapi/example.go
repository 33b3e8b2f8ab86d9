package httpapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// nullable says of the optional fields of request bodies that they may be null, which means that
// they are left out: huma takes it so and does not say it. The schemas that huma validates with
// must stay as they are, so these are copies, which undo takes back.
func (s *Server) nullable() (undo func()) {
	schemas := s.api.OpenAPI().Components.Schemas.Map()
	were := map[string]*huma.Schema{}
	var visit func(*huma.Schema)
	visit = func(schema *huma.Schema) {
		name, isRef := strings.CutPrefix(schema.Ref, "#/components/schemas/")
		if !isRef || were[name] != nil {
			return
		}
		were[name] = schemas[name]
		c := *schemas[name]
		c.Properties = maps.Clone(c.Properties)
		schemas[name] = &c
		for field, f := range c.Properties {
			visit(f)
			if slices.Contains(c.Required, field) {
				continue
			}
			n := *f
			switch {
			case f.Ref != "":
				n = huma.Schema{AnyOf: []*huma.Schema{{Ref: f.Ref}, {Type: "null"}}, Description: f.Description}
			case f.Type != "":
				n.Nullable = true
			}
			if len(f.Enum) > 0 {
				n.Enum = append(slices.Clone(f.Enum), nil)
			}
			c.Properties[field] = &n
		}
	}
	for _, path := range s.api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{path.Post, path.Put, path.Patch, path.Delete} {
			if op != nil && op.RequestBody != nil {
				visit(op.RequestBody.Content["application/json"].Schema)
			}
		}
	}
	return func() { maps.Copy(schemas, were) }
}

// exemplify gives a body in JSON that has no example one made of its fields' examples.
func (s *Server) exemplify(content map[string]*huma.MediaType) {
	c := content["application/json"]
	if c == nil || c.Schema == nil || c.Example != nil || len(c.Examples) > 0 {
		return
	}
	if v, ok := exampleOf(s.api.OpenAPI().Components.Schemas, c.Schema); ok {
		c.Example = v
	}
}

// exampleOf is a value that fits the schema, made of the examples in it; false if there are
// none. A field that must be there and has no example is left out, which a test finds.
func exampleOf(schemas huma.Registry, s *huma.Schema) (any, bool) {
	if len(s.Examples) > 0 {
		return s.Examples[0], true
	}
	if s.Ref != "" {
		s = schemas.SchemaFromRef(s.Ref)
	}
	switch {
	case len(s.Examples) > 0:
		return s.Examples[0], true
	case s.Default != nil:
		return s.Default, true
	case len(s.OneOf) > 0:
		return exampleOf(schemas, s.OneOf[0])
	case s.Items != nil:
		if v, ok := exampleOf(schemas, s.Items); ok {
			return []any{v}, true
		}
	case len(s.Properties) > 0:
		var o ordered
		for _, name := range fieldsOf(s) {
			field := s.Properties[name]
			v, ok := exampleOf(schemas, field)
			if !ok && len(field.Enum) > 0 && slices.Contains(s.Required, name) {
				v, ok = field.Enum[0], true
			}
			if ok {
				o = append(o, member{name, v})
			}
		}
		return o, len(o) > 0
	}
	return nil, false
}

// fieldsOf names an object's fields, those that must be there first.
func fieldsOf(s *huma.Schema) []string {
	rest := slices.DeleteFunc(slices.Sorted(maps.Keys(s.Properties)), func(name string) bool {
		return slices.Contains(s.Required, name)
	})
	return slices.Concat(s.Required, rest)
}

// ordered is a JSON object whose members have an order.
type ordered []member

type member struct {
	name  string
	value any
}

// MarshalJSON keeps the order.
func (o ordered) MarshalJSON() ([]byte, error) {
	var buf bytes.Buffer
	for i, m := range o {
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		buf.WriteByte("{,"[min(i, 1)])
		buf.Write(name)
		buf.WriteByte(':')
		buf.Write(value)
	}
	buf.WriteByte('}')
	return buf.Bytes(), nil
}
