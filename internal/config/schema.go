package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// want is what kind of thing a key takes.
type want int

const (
	wantStruct want = iota // a mapping with known keys
	wantMap                // a mapping with keys of the user's
	wantList
	wantText
	wantBool
	wantInt
	wantDuration
	wantBytes
	wantTime
	wantPrefix
)

func kindOf(t reflect.Type) want {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return wantDuration
	case reflect.TypeFor[Bytes]():
		return wantBytes
	case reflect.TypeFor[time.Time]():
		return wantTime
	case reflect.TypeFor[netip.Prefix]():
		return wantPrefix
	}
	switch t.Kind() {
	case reflect.Struct:
		return wantStruct
	case reflect.Map:
		return wantMap
	case reflect.Slice:
		return wantList
	case reflect.Bool:
		return wantBool
	case reflect.Int:
		return wantInt
	default:
		return wantText
	}
}

// describe says what a scalar must be, for a person.
func (k want) describe(tag reflect.StructTag) string {
	switch k {
	case wantBool:
		return "true or false"
	case wantInt:
		return "a whole number"
	case wantDuration:
		return "a duration (milliseconds, or a number with ms, s, m, h or d: 90s)"
	case wantBytes:
		return "a size (bytes, or a number with KiB, MiB, GiB, KB, MB or GB: 1MiB)"
	case wantTime:
		return "a moment (milliseconds since 1970, 2026-12-31T18:00:00Z, or 2026-12-31)"
	case wantPrefix:
		return "an address or a range of them (10.0.0.0/8)"
	}
	words := strings.Fields(tag.Get("oneof"))
	switch n := len(words); n {
	case 0:
		return "text"
	case 1:
		return words[0]
	default:
		return strings.Join(words[:n-1], ", ") + " or " + words[n-1]
	}
}

// field is a field of a struct with its key.
type field struct {
	key   string
	value reflect.Value
	tag   reflect.StructTag
}

// fields lists the fields of a struct in order, those of embedded structs among them.
func fields(v reflect.Value) []field {
	var all []field
	for f, value := range v.Fields() {
		if f.Anonymous {
			all = append(all, fields(value)...)
			continue
		}
		all = append(all, field{f.Tag.Get("yaml"), value, f.Tag})
	}
	return all
}

func fieldOf(v reflect.Value, key string) (field, bool) {
	for _, f := range fields(v) {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

func keysOf(t reflect.Type) []string {
	var keys []string
	for _, f := range fields(reflect.Zero(t)) {
		keys = append(keys, f.key)
	}
	return keys
}

// moved are keys that people bring along from the TypeScript Iris, by pattern.
var moved = map[string]string{
	"dashboard":                    "the dashboard is part of api",
	"database":                     "the database is in the data folder, which $IRIS_HOME names; remove it",
	"settings.httpPort":            "it is now api.port",
	"settings.defaultTransport":    "Iris serves both; remove it",
	"settings.responseTimeout":     "it is now silenceTimeout",
	"settings.sessionInitTimeout":  "Iris needs no such limit; remove it",
	"settings.spawnTimeout":        "Iris needs no such limit; remove it",
	"settings.healthCheckInterval": "Iris needs no such checks; remove it",
	"settings.wonderLoggerConfig":  "it is now logLevel",
	"teams.*.grantPermission":      "it is now permissions: ask, allow, deny or forward",
	"teams.*.skipPermissions":      "it is now permissions: allow",
	"teams.*.sessionInitTimeout":   "Iris needs no such limit; remove it",
	"teams.*.remote":               "a team is a folder of this machine",
}

// advice says what to do about the unknown key of a struct.
func advice(t reflect.Type, at path, key string) string {
	if says, ok := moved[at.pattern]; ok {
		return says
	}
	keys := keysOf(t)
	if near := iris.Closest(key, keys); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	for _, block := range fields(reflect.ValueOf(document{})) {
		if kindOf(block.value.Type()) == wantStruct && slices.Contains(keysOf(block.value.Type()), key) {
			return fmt.Sprintf("%s belongs into the block %s", key, block.key)
		}
	}
	slices.Sort(keys)
	return "known are " + strings.Join(keys, ", ")
}
