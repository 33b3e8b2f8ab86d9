package config

import (
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size.
type Bytes int64

// Secret is text that is never shown: printing, logging or encoding it gives "[secret]".
// string(s) is the text itself.
type Secret string

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[secret]"
}

func (s Secret) GoString() string             { return strconv.Quote(s.String()) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(s.String()) }

var quantity = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)$`)

var durationUnits = map[string]float64{
	"": float64(time.Millisecond), "ms": float64(time.Millisecond), "s": float64(time.Second),
	"m": float64(time.Minute), "h": float64(time.Hour), "d": float64(24 * time.Hour),
}

var sizeUnits = map[string]float64{
	"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}

// amount reads a number with a unit, more than zero. An amount without a unit is a whole
// number. Beyond 2^62 it is too much: that leaves room to add two.
func amount(text string, units map[string]float64) (int64, error) {
	m := quantity.FindStringSubmatch(text)
	if m == nil {
		return 0, errNotThat
	}
	unit, ok := units[m[2]]
	if !ok || m[2] == "" && strings.Contains(m[1], ".") {
		return 0, errNotThat
	}
	number, err := strconv.ParseFloat(m[1], 64)
	switch n := math.Round(number * unit); {
	case err != nil || n > 1<<62:
		return 0, fmt.Errorf("%s is too much", text)
	case n < 1:
		return 0, fmt.Errorf("must be more than 0; leave it out for the default")
	default:
		return int64(n), nil
	}
}

// errNotThat says that a text is not what is wanted; the reader knows what that is.
var errNotThat = fmt.Errorf("is not that")

func parseDuration(text string) (time.Duration, error) {
	n, err := amount(text, durationUnits)
	return time.Duration(n), err
}

func parseBytes(text string) (Bytes, error) {
	n, err := amount(text, sizeUnits)
	return Bytes(n), err
}

// formatDuration writes a duration as the file has it, in the largest unit that needs no
// fraction. parseDuration reads it back, down to whole milliseconds.
func formatDuration(d time.Duration) string {
	for _, unit := range []string{"d", "h", "m", "s"} {
		if per := time.Duration(durationUnits[unit]); d >= per && d%per == 0 {
			return strconv.FormatInt(int64(d/per), 10) + unit
		}
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
}

// parseBool takes YAML's own words and those of YAML 1.1, which people still write.
func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "yes", "on":
		return true, nil
	case "false", "no", "off":
		return false, nil
	}
	return false, errNotThat
}

// parseTime takes milliseconds since 1970, RFC 3339 or a date, which is its first instant in
// UTC. Seconds since 1970 would be a moment in January 1970: surely a mistake.
func parseTime(text string) (time.Time, error) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		if ms < 1e11 {
			return time.Time{}, fmt.Errorf("%d is a moment in the early 1970s; milliseconds since 1970 are wanted, not seconds", ms)
		}
		return time.UnixMilli(ms).UTC(), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errNotThat
}

// parsePrefix takes a range of addresses, or one address.
func parsePrefix(text string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), nil
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Zone() != "" {
		return netip.Prefix{}, errNotThat
	}
	return netip.PrefixFrom(ip, ip.BitLen()), nil
}
