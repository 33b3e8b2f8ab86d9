package iris

import (
	"strings"
	"testing"
	"time"
)

func TestParseLimit(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Limit
		says string
	}{
		{"100/1m", Limit{100, time.Minute}, "100/1m"},
		{" 4 / 4s ", Limit{4, 4 * time.Second}, "4/4s"},
		{"1/1ms", Limit{1, time.Millisecond}, "1/1ms"},
		{"5000/1d", Limit{5000, 24 * time.Hour}, "5000/24h"},
		{"10/90m", Limit{10, 90 * time.Minute}, "10/1h30m"},
		{"10/0.5d", Limit{10, 12 * time.Hour}, "10/12h"},
		{"7/1.5s", Limit{7, 1500 * time.Millisecond}, "7/1.5s"},
		{"1000000/24h", Limit{1_000_000, 24 * time.Hour}, "1000000/24h"},
	} {
		got, err := ParseLimit(tt.text)
		if err != nil || got != tt.want || got.String() != tt.says {
			t.Errorf("%q is %v (%v), want %v", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{
		"", "100", "/", "100/", "/1m", "a/1m", "100/m", "100/60", "1.5/1m", "0/1m", "-1/1m", "1000001/1m", "1/25h", "1/2d", "1/0s", "1/-1s",
		"1/1us", "1/NaNd", "1/Infd", "1/1e300d", "1/-1d", "1/1m/1m", strings.Repeat("9", 1000),
	} {
		if got, err := ParseLimit(text); CodeOf(err) != CodeInvalidRequest || len(err.Error()) > 300 {
			t.Errorf("%q is %v (%v), want INVALID_REQUEST", text, got, err)
		}
	}
}

func TestWhatAKeyAllows(t *testing.T) {
	own := Limit{5, time.Second}
	for _, tt := range []struct {
		key  Key
		want string
	}{
		{Key{}, "100/1m"},
		{Key{Tier: TierStandard}, "100/1m"},
		{Key{Tier: TierPremium}, "1000/1m"},
		{Key{Tier: TierEnterprise}, "unlimited"},
		{Key{Tier: "nonsense"}, "100/1m"},
		{Key{Limit: own}, "5/1s"},
		{Key{Limit: own, Tier: TierEnterprise}, "5/1s"},
	} {
		if got := tt.key.Caller().Limit; got.String() != tt.want {
			t.Errorf("%+v allows %s, want %s", tt.key, got, tt.want)
		}
	}
	for _, tier := range Tiers {
		if l := tier.Limit(); l != (Limit{}) && l.Check() != "" {
			t.Errorf("%s: %s", tier, l.Check())
		}
	}
}
