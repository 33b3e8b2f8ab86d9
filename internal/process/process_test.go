//go:build linux

package process_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp/internal/process"
)

// TestMain also plays an Iris that is killed: it starts one shell with all kinds of children,
// says that they run, and waits for its end.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "guard" {
		if err := process.StandGuard(os.Stdin, os.Args[2]); err != nil {
			panic(err)
		}
		return
	}
	if id := os.Getenv("PLAY_IRIS"); id != "" {
		k := process.New(id, slog.New(slog.DiscardHandler))
		if os.Getenv("PLAY_GUARDED") != "" {
			if err := k.Guard(os.Args[0], os.Args[0], "guard"); err != nil {
				panic(err)
			}
		}
		cmd := exec.Command("sh", "-c", family+" echo ready; wait")
		cmd.Stdout = os.Stdout
		if _, err := k.Start(cmd); err != nil {
			panic(err)
		}
		select {}
	}
	os.Exit(m.Run())
}

// family starts a plain child, one in a session of its own, one that ignores hang-ups, and one
// that was detached by a shell that is gone. Their commands tell them from all others.
const family = `sleep 4711 & setsid sleep 4712 & nohup sleep 4713 >/dev/null 2>&1 &
	(setsid sh -c 'setsid sleep 4714 & exec true' &);`

func newKeeper(t *testing.T, id string) *process.Keeper {
	t.Helper()
	k := process.New(id, slog.New(slog.NewTextHandler(t.Output(), nil)))
	t.Cleanup(func() { k.Close() })
	return k
}

// start runs a shell and returns when it has printed "ready".
func start(t *testing.T, k *process.Keeper, script string) *process.Child {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", script)
	cmd.Stdout = w
	c, err := k.Start(cmd)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if line, err := bufio.NewReader(r).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the shell said %q, %v", line, err)
	}
	return c
}

// living counts the processes that run a command which begins so.
func living(t *testing.T, command string) int {
	t.Helper()
	dirs, _ := os.ReadDir("/proc")
	n := 0
	for _, d := range dirs {
		if _, err := strconv.Atoi(d.Name()); err != nil {
			continue
		}
		line, _ := os.ReadFile("/proc/" + d.Name() + "/cmdline")
		if strings.HasPrefix(string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})), command) {
			n++
		}
	}
	return n
}

// eventually waits for what the kernel does in its own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func TestASweepEndsWhateverTheChildStarted(t *testing.T) {
	for _, how := range []struct {
		name string
		end  func(*process.Child)
	}{
		{"after its own end", func(c *process.Child) { c.Signal(syscall.SIGTERM); c.Wait(); c.Sweep() }},
		{"after kill -9", func(c *process.Child) { c.Signal(syscall.SIGKILL); c.Wait(); c.Sweep() }},
		{"while it still runs", func(c *process.Child) {
			c.Kill()
			c.Sweep()
			c.Wait()
		}},
	} {
		t.Run(how.name, func(t *testing.T) {
			k := newKeeper(t, t.Name()[len("TestASweep"):])
			other := start(t, k, `sleep 4720 & echo ready; wait`)
			c := start(t, k, family+` echo ready; wait`)
			eventually(t, "four children run", func() bool { return living(t, "sleep 471") == 4 })
			how.end(c)
			eventually(t, "none is left", func() bool { return living(t, "sleep 471") == 0 })
			if living(t, "sleep 4720") != 1 {
				t.Error("the child of somebody else was ended too")
			}
			other.Kill()
			other.Sweep()
			other.Wait()
		})
	}
}

func TestClosingEndsWhatHasThrownItsMarkAway(t *testing.T) {
	k := newKeeper(t, "unmarked")
	c := start(t, k, `(env -i setsid sleep 4731 &); echo ready`)
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the detached one runs", func() bool { return living(t, "sleep 4731") == 1 })
	bystander := exec.Command("sleep", "4732") // started past the Keeper: not ours to end
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { bystander.Process.Kill(); bystander.Wait() }()
	k.Close()
	eventually(t, "it is ended", func() bool { return living(t, "sleep 4731") == 0 })
	if living(t, "sleep 4732") != 1 {
		t.Error("a bystander was ended")
	}
	if _, err := k.Start(exec.Command("true")); err == nil {
		t.Error("a closed Keeper still starts children")
	}
}

func TestTheNextRunEndsWhatAKilledOneLeftBehind(t *testing.T) {
	id := fmt.Sprintf("killed-%d", os.Getpid())
	iris := play(t, "PLAY_IRIS="+id)
	iris.Process.Kill()
	iris.Wait()
	eventually(t, "the shell died with Iris", func() bool { return living(t, "sh -c sleep 4711") == 0 })

	if n := newKeeper(t, "another-folder").SweepAll(t.Context()); n != 0 {
		t.Errorf("the Iris of another folder killed %d", n)
	}
	k := newKeeper(t, id)
	mine := start(t, k, `sleep 4720 & echo ready; wait`)
	if n := k.SweepAll(t.Context()); n != 4 {
		t.Errorf("killed %d, want 4", n)
	}
	eventually(t, "no orphan is left", func() bool { return living(t, "sleep 471") == 0 })
	if living(t, "sleep 4720") != 1 {
		t.Error("a child of the new run was ended")
	}
	mine.Kill()
	mine.Sweep()
	mine.Wait()
}

// play starts an Iris of its own whose shell has all kinds of children.
func play(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	iris := exec.Command(os.Args[0])
	iris.Env = append(os.Environ(), env...)
	out, err := iris.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := iris.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("it said %q, %v", line, err)
	}
	eventually(t, "four children run", func() bool { return living(t, "sleep 471") == 4 })
	return iris
}

func TestTheGuardEndsWhatAKilledRunLeftBehindAndNothingElse(t *testing.T) {
	id := fmt.Sprintf("guarded-%d", os.Getpid())
	iris := play(t, "PLAY_IRIS="+id, "PLAY_GUARDED=1")
	k := newKeeper(t, id) // the next run, which may be there before the guard is done
	mine := start(t, k, `sleep 4720 & echo ready; wait`)
	iris.Process.Kill()
	iris.Wait()
	eventually(t, "nothing is left", func() bool { return living(t, "sleep 471") == 0 })
	eventually(t, "the guard is gone too", func() bool { return living(t, os.Args[0]+" guard") == 0 })
	if living(t, "sleep 4720") != 1 {
		t.Error("a child of the next run was ended")
	}
	mine.Kill()
	mine.Sweep()
	mine.Wait()
}

func TestTheGuardGoesWhenItIsDismissed(t *testing.T) {
	k := newKeeper(t, fmt.Sprintf("dismissed-%d", os.Getpid()))
	if err := k.Guard(os.Args[0], os.Args[0], "guard"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the guard stands", func() bool { return living(t, os.Args[0]+" guard") == 1 })
	if n := k.SweepAll(t.Context()); n != 0 {
		t.Errorf("a sweep killed %d, the guard among them", n)
	}
	k.Close()
	if n := living(t, os.Args[0]+" guard"); n != 0 {
		t.Errorf("%d guards after the end", n)
	}
}

func TestNoExitCodeIsLostWhileOrphansAreReaped(t *testing.T) {
	k := newKeeper(t, "codes")
	const children, atOnce = 400, 8
	var (
		all  sync.WaitGroup
		gate = make(chan struct{}, atOnce)
	)
	for i := range children {
		gate <- struct{}{}
		all.Go(func() {
			defer func() { <-gate }()
			want := i%100 + 1
			cmd := exec.Command("sh", "-c", fmt.Sprintf("(sleep 0.01 &) ; exit %d", want))
			c, err := k.Start(cmd)
			if err != nil {
				t.Error(err)
				return
			}
			exit, ok := errors.AsType[*exec.ExitError](c.Wait())
			if !ok || exit.ExitCode() != want {
				t.Errorf("child %d: %v, want exit code %d", i, exit, want)
			}
		})
	}
	all.Wait()
	eventually(t, "no zombie is left", func() bool { return zombies(t) == 0 })
}

func zombies(t *testing.T) int {
	t.Helper()
	dirs, _ := os.ReadDir("/proc")
	n := 0
	for _, d := range dirs {
		stat, err := os.ReadFile("/proc/" + d.Name() + "/stat")
		if err != nil {
			continue
		}
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if f[0] == "Z" && f[1] == strconv.Itoa(os.Getpid()) {
			n++
		}
	}
	return n
}

func TestAChildSeesItsMarkAndItsFolder(t *testing.T) {
	k := newKeeper(t, "marks")
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", `echo $IRIS_MARK $PWD`)
	cmd.Dir = dir
	cmd.Env = []string{"IRIS_MARK=old/1"}
	var out bytes.Buffer
	cmd.Stdout = &out
	c, err := k.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	mark, pwd, _ := strings.Cut(strings.TrimSpace(out.String()), " ")
	if !strings.HasPrefix(mark, "marks/") || len(mark) < len("marks/")+20 || pwd != dir {
		t.Errorf("mark %q, folder %q", mark, pwd)
	}
	if process.RSS(os.Getpid()) < 1<<20 {
		t.Error("this program seems to use no memory")
	}
}

func TestAFailedStartLeavesNothing(t *testing.T) {
	k := newKeeper(t, "fails")
	if _, err := k.Start(exec.Command("/no/such/program")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if n := k.SweepAll(ctx); n != 0 {
		t.Errorf("swept %d", n)
	}
}
