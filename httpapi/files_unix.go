//go:build unix

package httpapi

import "syscall"

// openFiles is how many files and connections the process may have open.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 2 * maxSockets
	}
	return int(min(limit.Cur, 1<<30))
}
