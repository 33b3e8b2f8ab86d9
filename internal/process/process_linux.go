package process

import (
	"bytes"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// adopt makes orphans among our descendants our children. It holds for the whole program.
func adopt() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

func attributes(a *syscall.SysProcAttr) {
	a.Setpgid = true
	a.Pdeathsig = syscall.SIGKILL
}

// reap reaps adopted zombies whenever a child of ours has died, until closed.
func reap(closed <-chan struct{}) {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	defer signal.Stop(died)
	self, group := os.Getpid(), syscall.Getpgrp()
	for {
		select {
		case <-died:
			for _, p := range table() {
				if p.zombie && adopted(p, self, group) {
					reapOne(p.pid)
				}
			}
		case <-closed:
			return
		}
	}
}

// reapOne reaps the zombie, unless a child of ours got its pid meanwhile.
func reapOne(pid int) {
	own.Lock()
	defer own.Unlock()
	if !own.pids[pid] {
		syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
	}
}

// table lists all processes.
func table() []proc {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	all := make([]proc, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, ok := look(pid); ok {
			all = append(all, p)
		}
	}
	return all
}

// look reads one process from /proc/pid/stat (proc_pid_stat(5)). The second field, the
// command, is in brackets and may hold spaces and brackets itself; field 3 begins after the
// last one.
func look(pid int) (proc, bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return proc{}, false
	}
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(f) < 20 {
		return proc{}, false
	}
	p := proc{pid: pid, zombie: f[0][0] == 'Z' || f[0][0] == 'X'}
	p.ppid, _ = strconv.Atoi(string(f[1]))
	p.group, _ = strconv.Atoi(string(f[2]))
	p.start, err = strconv.ParseUint(string(f[19]), 10, 64)
	return p, err == nil
}

func environ(pid int) []byte {
	env, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	return env
}

// RSS is the memory that a process holds, in bytes; zero when unknown.
func RSS(pid int) int64 {
	statm, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	f := bytes.Fields(statm)
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(f[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}
