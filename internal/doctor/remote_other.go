//go:build !linux

package doctor

// remote is known on Linux only.
func remote(string) bool { return false }
