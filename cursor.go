package iris

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"time"
)

// Cursor is a place in the history: behind one of its messages. It stays where it is however
// many newer ones come.
type Cursor struct {
	CreatedAt time.Time // of that message
	N         int64     // its number; messages of one millisecond are in that order
	Page      int       // how many pages the reader has seen by then
}

// IsZero reports whether it is no place.
func (c Cursor) IsZero() bool { return c.N == 0 }

// String is the cursor as clients carry it; what it looks like inside is none of their business.
func (c Cursor) String() string {
	if c.IsZero() {
		return ""
	}
	var b []byte
	for _, n := range []int64{c.CreatedAt.UnixMilli(), c.N, int64(c.Page)} {
		b = binary.AppendVarint(b, n)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseCursor reads what String wrote, and nothing else.
func ParseCursor(text string) (c Cursor, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return Cursor{}, false
	}
	var of [3]int64
	for i := range of {
		n, size := binary.Varint(b)
		if size <= 0 {
			return Cursor{}, false
		}
		of[i], b = n, b[size:]
	}
	c = Cursor{CreatedAt: time.UnixMilli(of[0]).UTC(), N: of[1], Page: int(of[2])}
	ok = of[0] >= 0 && of[0] <= latest && c.N > 0 && of[2] > 0 && of[2] <= math.MaxInt32 && c.String() == text
	if !ok {
		return Cursor{}, false
	}
	return c, true
}

// latest is the last millisecond of the year 9999.
const latest = 253402300799999
