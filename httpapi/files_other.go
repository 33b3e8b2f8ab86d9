//go:build !unix

package httpapi

// openFiles is how many files and connections the process may have open.
func openFiles() int { return 2 * maxSockets }
