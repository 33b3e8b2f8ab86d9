package store

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"time"
)

// millis is a time as a column: integer milliseconds since 1970, 0 for the zero time.
type millis time.Time

func (m millis) Value() (driver.Value, error) { return unix(time.Time(m)), nil }

func (m *millis) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("a time is %T, not an integer", v)
	}
	if *m = (millis)(time.Time{}); n != 0 {
		*m = millis(time.UnixMilli(n).UTC())
	}
	return nil
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// span is a duration as a column: integer milliseconds.
type span time.Duration

func (s span) Value() (driver.Value, error) { return time.Duration(s).Milliseconds(), nil }

func (s *span) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("a duration is %T, not an integer", v)
	}
	*s = span(time.Duration(n) * time.Millisecond)
	return nil
}

// structure is a value as a column of JSON text. A nil pointer is NULL, and NULL leaves what
// into points at as it is.
type structure struct{ into any }

func (s structure) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return json.Unmarshal([]byte(v), s.into)
	}
	return fmt.Errorf("a structure is %T, not text", v)
}

var _ sql.Scanner = structure{}

// encode makes the text of a structure. It keeps <, > and & as they are, for nobody reads it
// as HTML, and texts are full of them.
func encode(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// encodeOr is encode, or NULL for a nil pointer.
func encodeOr[T any](v *T) (any, error) {
	if v == nil {
		return nil, nil
	}
	return encode(v)
}
