package httpapi

import "testing"

func TestWhole(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":30000.0,"b":3e4,"c":-1.50E1,"d":0.5}`: `{"a":30000,"b":30000,"c":-15,"d":0.5}`,
		`{"1.0":"2.0 \" 3.0","x":[1.0,[4e0]]}`:      `{"1.0":"2.0 \" 3.0","x":[1,[4]]}`,
		`1e400`:                                     `1e400`,
		`1e15`:                                      `1000000000000000`,
		`1e16`:                                      `1e16`, // not every whole number of this size is a float64
		`-0.0`:                                      `0`,
		`12`:                                        `12`,
	} {
		if got := string(whole([]byte(in))); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}
