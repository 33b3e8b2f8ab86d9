package config

import (
	_ "embed"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// JSONSchema describes iris-config.yaml to editors. It is made of the types here and of what
// docs/configuration.md says of each key; docs/iris-config.schema.json is the same.
//
//go:embed iris-config.schema.json
var JSONSchema []byte

// Shown is the configuration as the file could have it, every default filled in, every
// variable expanded and every path whole; only what is empty is left out. Secrets (keys and
// their hashes, and what a team's environment has) are "[secret]".
func (c *Config) Shown() *yaml.Node {
	doc := document{API: c.API, Settings: c.Settings, Queue: c.Queue, Webhooks: c.Webhooks, Teams: map[string]Team{}}
	doc.API.Auth.Keys = slices.Clone(c.API.Auth.Keys)
	for i := range doc.API.Auth.Keys {
		doc.API.Auth.Keys[i].KeyHash = hidden
	}
	for _, t := range c.Teams {
		env := map[string]string{}
		for name := range t.Env {
			env[name] = hidden
		}
		doc.Teams[t.Name] = Team{
			Path: t.Path, Description: t.Description, Color: t.Color, Model: t.Model,
			Permissions: t.Permissions, PermissionMode: t.PermissionMode,
			AllowedTools: t.AllowedTools, DisallowedTools: t.DisallowedTools, AppendSystemPrompt: t.AppendSystemPrompt,
			Env: env, MaxProcesses: t.MaxProcesses, ParallelTasks: t.ParallelTasks, Warm: t.Warm,
			PerTeam: PerTeam{
				ClaudePath: t.ClaudePath, TurnTimeout: t.TurnTimeout, SilenceTimeout: t.SilenceTimeout,
				IdleTimeout: t.IdleTimeout, PermissionTimeout: t.PermissionTimeout,
			},
		}
	}
	return shown(reflect.ValueOf(doc))
}

const hidden = "[secret]"

// shown writes a value with all that it has; nil if it is empty.
func shown(v reflect.Value) *yaml.Node {
	var said string
	switch x := v.Interface().(type) {
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(x)}
	case int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(x)}
	case time.Duration:
		said = formatDuration(x)
	case Bytes:
		if x > 0 {
			said = formatBytes(x)
		}
	case Secret:
		said = x.String()
	case time.Time:
		if !x.IsZero() {
			said = x.Format(time.RFC3339)
		}
	case netip.Prefix:
		said = x.String()
	default:
		return shownMany(v)
	}
	if said == "" {
		return nil
	}
	return textNode(literal(said))
}

// shownMany is shown for what is made of others, and for text.
func shownMany(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	put := func(key string, v reflect.Value) {
		if value := shown(v); value != nil {
			n.Content = append(n.Content, textNode(key), value)
		}
	}
	switch {
	case v.Kind() == reflect.Struct && !v.IsZero():
		for _, f := range fields(v) {
			put(f.key, f.value)
		}
	case v.Kind() == reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			put(key.String(), v.MapIndex(key))
		}
	case v.Kind() == reflect.Slice:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		for i := range v.Len() {
			if value := shown(v.Index(i)); value != nil {
				n.Content = append(n.Content, value)
			}
		}
	case v.Kind() == reflect.String && v.String() != "":
		return textNode(literal(v.String()))
	}
	if len(n.Content) == 0 {
		return nil
	}
	return n
}

// formatBytes writes a size in the largest unit that needs no fraction.
func formatBytes(b Bytes) string {
	for _, unit := range []string{"GiB", "MiB", "KiB"} {
		if per := Bytes(sizeUnits[unit]); b >= per && b%per == 0 {
			return strconv.FormatInt(int64(b/per), 10) + unit
		}
	}
	return strconv.FormatInt(int64(b), 10)
}
