package httpapi

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzStrict: strict finds a field that is given twice where a decoder of tokens finds one.
func FuzzStrict(f *testing.F) {
	for _, s := range []string{`{"a":1,"a":2}`, `{"a":{"a":[{"a":1},{"a":"\"a\":"}]},"b":-1.5e+3}`, `{"":1,"":2}`, `[{},[],"\\"]`, `{"a":1,"\u0061":2}`, `"{"`, `{"\ud800":1,"\udfff":2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) || len(data) > longestNumber {
			t.Skip()
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if got, want := strict(data) != nil, repeats(t, d); got != want {
			t.Errorf("%q: refused %v, want %v", data, got, want)
		}
	})
}

// repeats reads a value and reports whether an object in it has a field twice.
func repeats(t *testing.T, d *json.Decoder) (found bool) {
	token := func() json.Token {
		v, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	switch token() {
	case json.Delim('{'):
		seen := map[json.Token]bool{}
		for d.More() {
			name := token()
			found = found || seen[name]
			seen[name] = true
			found = repeats(t, d) || found
		}
		token()
	case json.Delim('['):
		for d.More() {
			found = repeats(t, d) || found
		}
		token()
	}
	return found
}
