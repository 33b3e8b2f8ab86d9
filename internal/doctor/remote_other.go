//go:build !linux

package doctor

// maxSocket is how many bytes the path of a Unix socket may have: macOS and the BSDs allow
// the fewest.
const maxSocket = 103

// remote is known on Linux only.
func remote(string) bool { return false }
