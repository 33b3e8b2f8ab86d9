package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// The tables of docs/configuration.md have each key of the file, in the order of the types,
// with its true type and default, and say of each whether this version acts upon it; only
// what a key means is told nowhere else.
func TestTheReferenceIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|[^|]*\\|[^|]*\\| (.+) \\|$").FindAllStringSubmatch(string(text), -1) {
		got = append(got, strings.TrimSuffix(m[0], m[2]+" |"))
		if says, is := strings.Contains(m[2], "*not yet*"), unserved(m[1]); says != is {
			t.Errorf("%s: that it is not acted upon is said: %v, and true: %v", m[1], says, is)
		}
	}
	doc := defaults()
	team := teamDefaults()
	team.PerTeam = doc.Settings.PerTeam
	doc.Teams = map[string]Team{"<name>": team}
	for _, r := range rows("", reflect.ValueOf(doc), "") {
		want = append(want, fmt.Sprintf("| `%s` | %s | %s | ", r[0], r[1], r[2]))
	}
	if !slices.Equal(got, want) {
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Errorf("row %d is %s", i+1, got[i])
			}
		}
		t.Errorf("the rows should begin\n%s", strings.Join(want, "\n"))
	}
}

// unserved reports whether this version does not act upon a key, or not upon a value of it.
func unserved(key string) bool {
	pattern := strings.Replace(key, "<name>", "*", 1)
	for _, row := range notYet {
		if pattern == row.pattern || strings.HasPrefix(pattern, row.pattern+".") {
			return true
		}
	}
	return false
}

// rows gives key, type and default of all that stands under a value.
func rows(key string, v reflect.Value, tag reflect.StructTag) [][3]string {
	var all [][3]string
	switch kind := kindOf(v.Type()); {
	case kind == wantStruct:
		for _, f := range fields(v) {
			all = append(all, rows(strings.TrimPrefix(key+"."+f.key, "."), f.value, f.tag)...)
		}
		return all
	case kind == wantMap && v.Type().Elem().Kind() == reflect.Struct:
		for _, name := range v.MapKeys() {
			all = append(all, rows(key+"."+name.String(), v.MapIndex(name), "")...)
		}
		return all
	case kind == wantList && kindOf(v.Type().Elem()) == wantStruct:
		return rows(key+"[]", reflect.Zero(v.Type().Elem()), "")
	}
	byDefault := value(v, tag)
	if name, own := strings.CutPrefix(key, "teams.<name>."); own && slices.Contains(keysOf(reflect.TypeFor[PerTeam]()), name) {
		byDefault = "that of `settings`"
	}
	if key == "api.auth.keys[].session" {
		byDefault = "that of `api`"
	}
	return [][3]string{{key, typeName(v.Type(), tag), byDefault}}
}

func typeName(t reflect.Type, tag reflect.StructTag) string {
	if t == reflect.TypeFor[[]iris.Scope]() {
		return "list of scopes"
	}
	switch kindOf(t) {
	case wantBool:
		return "true or false"
	case wantInt:
		if most := tag.Get("max"); most != "" {
			return "whole number, " + tag.Get("min") + " to " + most
		}
		return "whole number, at least " + tag.Get("min")
	case wantDuration:
		return "duration"
	case wantBytes:
		return "size"
	case wantTime:
		return "moment"
	case wantPrefix:
		return "address or range"
	case wantMap:
		return "mapping of " + typeName(t.Elem(), "")
	case wantList:
		return "list of " + map[string]string{"text": "texts", "duration": "durations", "address or range": "addresses or ranges"}[typeName(t.Elem(), "")]
	}
	words := strings.Fields(tag.Get("oneof"))
	if len(words) == 0 {
		return "text"
	}
	for i, w := range words {
		words[i] = "`" + w + "`"
	}
	return strings.Join(words, ", ")
}

// value writes a default as the file would have it; nothing when there is none.
func value(v reflect.Value, tag reflect.StructTag) string {
	text := ""
	switch x := v.Interface().(type) {
	case time.Duration:
		text = formatDuration(x)
	case Bytes:
		text = fmt.Sprintf("%dMiB", x>>20)
	case []time.Duration:
		var all []string
		for _, d := range x {
			all = append(all, formatDuration(d))
		}
		text = "[" + strings.Join(all, ", ") + "]"
	default:
		text = fmt.Sprint(x)
	}
	if v.IsZero() && v.Kind() != reflect.Bool && tag.Get("min") != "0" {
		return "none"
	}
	return "`" + text + "`"
}
