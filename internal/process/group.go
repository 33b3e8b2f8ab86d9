//go:build linux || darwin

package process

import (
	"os"
	"syscall"
)

// killGroup kills the group that the child leads, as long as somebody still waits for the
// child: after that its number may be another's, and what is left of the group is for a sweep.
func killGroup(p *os.Process) {
	own.Lock()
	defer own.Unlock()
	if own.pids[p.Pid] {
		syscall.Kill(-p.Pid, syscall.SIGKILL)
	}
}
