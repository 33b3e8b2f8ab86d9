package process

import (
	"bytes"
	"context"
	"os"
	"time"
)

// proc is a process as a scan saw it. The pid alone may name another one by now; pid and
// start together never do.
type proc struct {
	pid, ppid, group int
	zombie           bool
	start            uint64 // when it began, in the system's own measure
}

// sweep kills every process whose mark is wanted, and their descendants, until two scans in a
// row find none: a process may fork while it is being looked for. With orphans, it also takes
// the unmarked children that we adopted. It spares this program and its ancestors.
func (k *Keeper) sweep(ctx context.Context, orphans bool, wanted func(mark string) bool) int {
	killed := map[proc]bool{}
	for empty := 0; empty < 2; {
		found := find(orphans, wanted)
		if len(found) == 0 {
			empty++
			continue
		}
		empty = 0
		for _, p := range found {
			kill(p)
			p.ppid, p.zombie = 0, false
			killed[p] = true
		}
		select {
		case <-time.After(2 * time.Millisecond): // to die takes them a moment
		case <-ctx.Done():
			k.log.Warn("processes do not die of SIGKILL", "count", len(found), "pid", found[0].pid)
			return len(killed)
		}
	}
	return len(killed)
}

// find scans the process table once for those that sweep is to kill.
func find(orphans bool, wanted func(mark string) bool) []proc {
	all := table()
	byPID := make(map[int]proc, len(all))
	for _, p := range all {
		byPID[p.pid] = p
	}
	self := os.Getpid()
	spared := map[int]bool{}
	for pid := self; pid > 0 && !spared[pid]; pid = byPID[pid].ppid {
		spared[pid] = true
	}
	group := byPID[self].group

	doomed := map[int]bool{}
	for _, p := range all {
		switch mark := markOf(p); {
		case p.zombie || spared[p.pid]:
		case mark != "":
			doomed[p.pid] = wanted(mark)
		case orphans && adopted(p, self, group):
			doomed[p.pid] = true
		}
	}
	var found []proc
	for _, p := range all {
		if p.zombie || spared[p.pid] {
			continue
		}
		seen := map[int]bool{}
		for pid := p.pid; pid > 0 && !seen[pid] && !spared[pid]; pid = byPID[pid].ppid {
			if doomed[pid] {
				found = append(found, p)
				break
			}
			seen[pid] = true
		}
	}
	return found
}

// adopted reports whether p is an orphan that came to us: a child that nobody here started.
// Descendants of a Keeper's child are never in our process group, so a child that is in it
// was started past the Keeper and is left alone.
func adopted(p proc, self, group int) bool {
	if p.ppid != self || p.group == group {
		return false
	}
	own.Lock()
	defer own.Unlock()
	return !own.pids[p.pid]
}

// markOf is the whole "IRIS_MARK=…" in the environment that the process began with, or empty.
// The environments of other users are hidden from us.
func markOf(p proc) string {
	for v := range bytes.SplitSeq(environ(p.pid), []byte{0}) {
		if bytes.HasPrefix(v, []byte(Mark+"=")) {
			return string(v)
		}
	}
	return ""
}

// kill kills exactly this process, or nothing: os.FindProcess takes hold of whoever has the
// pid now (a pidfd, on Linux), and only then is it compared with what the scan saw.
func kill(p proc) {
	held, err := os.FindProcess(p.pid)
	if err != nil {
		return
	}
	defer held.Release()
	if now, ok := look(p.pid); ok && now.start == p.start {
		held.Kill()
	}
}
