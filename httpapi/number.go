package httpapi

import (
	"bytes"
	"math"
	"strconv"
)

// whole writes the whole numbers of a JSON text without a point and an exponent: to JSON Schema
// 30000.0 and 3e4 are whole, and JavaScript and Python write such ones, but encoding/json takes
// none of them for an integer. The text is valid, and its numbers have at most longestNumber
// characters (strict).
func whole(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); {
		end := i + 1
		switch c := data[i]; {
		case c == '"':
			end = i + textEnd(data[i:])
		case c == '-' || '0' <= c && c <= '9':
			for end < len(data) && bytes.IndexByte([]byte("+-.0123456789Ee"), data[end]) >= 0 {
				end++
			}
			if n := data[i:end]; bytes.ContainsAny(n, ".eE") {
				f, err := strconv.ParseFloat(string(n), 64)
				if err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
					out = strconv.AppendInt(out, int64(f), 10)
					i = end
					continue
				}
			}
		}
		out = append(out, data[i:end]...)
		i = end
	}
	return out
}
