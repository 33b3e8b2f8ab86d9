// Command bench measures what Iris adds to the bare Claude Code CLI, which is the floor: the
// same CLI, on a bare pipe, with the same scripted model, in the same run. Floor and Iris take
// turns, so that whatever else the machine does hits both alike.
//
//	go run ./bench                        # prints tables for docs/benchmarks.md
//	go run ./bench -write                 # writes that file
//	go run ./bench -record [-write]       # the record and the queue, without any agent
//	go run ./bench -history 1000000       # the history of so many messages; takes some minutes
//
// But for the last it wants the CLI that `make claude` fetches and the program that `make build` makes; it
// drives both as processes of their own, in a home of their own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/iris-mcp/iris-mcp/internal/drive"
	"github.com/iris-mcp/iris-mcp/internal/model"
)

// options are the flags.
type options struct {
	warm, cold, starts int    // samples
	claude, iris       string // programs
	record, write      bool
	history            int
}

func main() {
	var o options
	flag.IntVar(&o.warm, "warm", 200, "samples of whatever takes milliseconds")
	flag.IntVar(&o.cold, "cold", 12, "samples of whatever starts a CLI")
	flag.IntVar(&o.starts, "starts", 20, "samples of the server's start")
	flag.StringVar(&o.claude, "claude", "", "the Claude Code CLI (default: the last of scripts/claude-versions, in .cache)")
	flag.StringVar(&o.iris, "iris", "bin/iris-mcp", "the program to measure")
	flag.BoolVar(&o.record, "record", false, "measure the record and the queue instead")
	flag.IntVar(&o.history, "history", 0, "measure the history of so many messages instead")
	flag.BoolVar(&o.write, "write", false, "write docs/benchmarks.md instead of printing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.history == 0 {
		if err := o.programs(); err != nil {
			return err
		}
	}
	b, err := newBench(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	measure, report := b.measure, b.report
	switch {
	case o.record:
		measure, report = b.record, b.recordReport
	case o.history > 0:
		measure, report = b.past, b.pastReport
	}
	if err := measure(ctx); err != nil {
		return err
	}
	text := report(ctx)
	if !o.write {
		fmt.Print(text)
		return nil
	}
	const file = "docs/benchmarks.md"
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(merge(string(old), text)), 0o644)
}

// programs finds what is to be measured.
func (o *options) programs() error {
	if o.claude == "" {
		versions, err := os.ReadFile("scripts/claude-versions")
		if err != nil {
			return fmt.Errorf("run it in the project's top folder: %w", err)
		}
		all := strings.Fields(string(versions))
		o.claude = filepath.Join(".cache/claude", all[len(all)-1], "claude")
	}
	for program, how := range map[*string]string{&o.claude: "make claude", &o.iris: "make build"} {
		path, err := filepath.Abs(*program)
		if err != nil {
			return err
		}
		*program = path
		if _, err := os.Stat(*program); err != nil {
			return fmt.Errorf("%w: run `%s` first", err, how)
		}
	}
	return nil
}

// merge puts new sections into a document in place of its old ones of the same headings. Text
// before the first section is the new one's if it has any.
func merge(old, text string) string {
	was, is := sections(old), sections(text)
	for i, s := range was {
		heading, _, _ := strings.Cut(s, "\n")
		for k, n := range is {
			if h, _, _ := strings.Cut(n, "\n"); h == heading && n != "" {
				was[i], is[k] = n, ""
			}
		}
	}
	if head := is[0]; head != "" {
		was[0] = head
	}
	all := was
	for _, n := range is[1:] {
		if n != "" {
			all = append(all, n)
		}
	}
	for i, s := range all {
		all[i] = strings.TrimSpace(s)
	}
	return strings.TrimSpace(strings.Join(all, "\n\n")) + "\n"
}

// sections are what stands before the first "## " and from each to the next.
func sections(text string) []string {
	parts := strings.Split("\n"+text, "\n## ")
	for i := range parts[1:] {
		parts[i+1] = "## " + parts[i+1]
	}
	return parts
}

// measure measures Iris beside the floor.
func (b *bench) measure(ctx context.Context) error {
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"start and rest", b.rest},
		{"warm", b.warm},
		{"cold", b.cold},
	} {
		fmt.Fprintf(os.Stderr, "bench: %s\n", part.name)
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// bench holds what is measured with, and what was measured.
type bench struct {
	options
	model *model.Server
	dir   string // temporary: homes and the team's folder

	got map[string]*samples

	views, totals []string // of the history, and how many messages each selects
}

func newBench(o options) (*bench, error) {
	b := &bench{options: o, got: map[string]*samples{}, model: model.New(model.Options{Keep: 16})}
	if err := b.model.Start(); err != nil {
		return nil, err
	}
	var err error
	if b.dir, err = os.MkdirTemp("", "iris-bench-"); err != nil {
		return nil, errors.Join(err, b.model.Close())
	}
	for name, text := range map[string]string{"team/CLAUDE.md": "# Backend\n\nAPI versions: v1 (deprecated), v2\n", "home/.keep": ""} {
		path := filepath.Join(b.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			return nil, errors.Join(err, b.close())
		}
	}
	return b, nil
}

func (b *bench) close() error { return errors.Join(b.model.Close(), os.RemoveAll(b.dir)) }

// add notes a sample.
func (b *bench) add(what string, v float64) {
	if b.got[what] == nil {
		b.got[what] = &samples{}
	}
	b.got[what].add(v)
}

func (b *bench) addTime(what string, d time.Duration) {
	b.add(what, float64(d)/float64(time.Millisecond))
}

// question is one that the model answers in seven words, and how to find it again.
func question(what string, n int) (text, id string) {
	id = fmt.Sprintf("%s-%d-%d", what, n, time.Now().UnixNano())
	return "Question " + id + " [[say All is well here, thank you.]]", id
}

// asked is how the model was asked the question.
func (b *bench) asked(id string) (model.Request, error) {
	for _, r := range b.model.Requests() {
		if strings.Contains(r.Text, id) {
			return r, nil
		}
	}
	return model.Request{}, fmt.Errorf("the model was never asked %s", id)
}

// settle is the pause before each sample: a CLI still writes its record for some
// milliseconds after its answer, and that should not be on the next one's bill.
const settle = 60 * time.Millisecond

// turns runs the ways n times, in another order each time, so that none is always behind the
// same one.
func turns(ctx context.Context, n int, ways ...func(context.Context, int) error) error {
	for i := range n {
		for _, k := range rand.Perm(len(ways)) {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(settle):
			}
			if err := ways[k](ctx, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// warm asks conversations that have a running process.
func (b *bench) warm(ctx context.Context) (err error) {
	floor, err := b.startFloor(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, floor.Close()) }()
	server, err := b.startIris(ctx, "warm", true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	relay, err := server.Relay(ctx, b.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, relay.Close()) }()

	record := true
	add := func(what string, d time.Duration) {
		if record {
			b.addTime(what, d)
		}
	}
	// way is one way to ask; to asks, and tells when the first piece of the answer was read,
	// if it was seen, and how long the whole took.
	way := func(name string, to func(text string) (first time.Time, took time.Duration, err error)) func(context.Context, int) error {
		return func(_ context.Context, i int) error {
			text, id := question(name, i)
			began := time.Now()
			first, took, err := to(text)
			if err != nil {
				return err
			}
			asked, err := b.asked(id)
			add(name+" warm", took)
			add(name+" there", asked.At.Sub(began))
			if !first.IsZero() {
				add(name+" first", first.Sub(asked.FirstDelta))
			}
			return err
		}
	}
	ways := []func(context.Context, int) error{
		way("floor", func(text string) (time.Time, time.Duration, error) {
			t, err := floor.turn(text)
			return t.first, t.took, err
		}),
		way("http", func(text string) (time.Time, time.Duration, error) {
			took, err := server.ask(ctx, "backend", "http", text)
			return time.Time{}, took, err
		}),
		way("sse", func(text string) (time.Time, time.Duration, error) {
			return server.stream(ctx, "backend", "sse", text)
		}),
		way("mcp", func(text string) (time.Time, time.Duration, error) {
			took, err := askTeam(server.MCP, "backend", "mcp", text)
			return time.Time{}, took, err
		}),
		way("relay", func(text string) (time.Time, time.Duration, error) {
			took, err := askTeam(relay, "backend", "relay", text)
			return time.Time{}, took, err
		}),
	}
	record = false // the first turns start processes
	if err := turns(ctx, 5, ways...); err != nil {
		return err
	}
	record = true
	if err := turns(ctx, b.options.warm, ways...); err != nil {
		return err
	}
	rss, err := server.rss()
	b.add("memory busy", rss)
	return err
}

// cold asks conversations that have no process yet.
func (b *bench) cold(ctx context.Context) (err error) {
	server, err := b.startIris(ctx, "cold", false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	return turns(ctx, b.options.cold,
		func(ctx context.Context, i int) error {
			began := time.Now()
			floor, err := b.startFloor(ctx)
			if err != nil {
				return err
			}
			text, _ := question("cold", i)
			_, err = floor.turn(text)
			b.addTime("floor cold", time.Since(began))
			return errors.Join(err, floor.Close())
		},
		func(ctx context.Context, i int) error {
			text, id := question("cold", i)
			took, err := server.ask(ctx, "cold", id, text)
			if err != nil {
				return err
			}
			b.addTime("http cold", took)
			return server.Until(ctx, "cold", func(p drive.Processes) bool { return len(p) == 0 })
		},
		func(ctx context.Context, i int) error {
			// The spare of this team is ready again, and the conversation before has ended.
			ready := func(p drive.Processes) bool { return len(p) == 1 && p[0].SessionID == "" && p[0].State == "idle" }
			if err := server.Until(ctx, "spare", ready); err != nil {
				return err
			}
			text, id := question("spare", i)
			took, err := server.ask(ctx, "spare", id, text)
			b.addTime("http spare", took)
			if err != nil {
				return err
			}
			return server.Until(ctx, "spare", ready)
		},
	)
}

// rest starts servers on folders of their own, and looks at what one costs that does nothing.
func (b *bench) rest(ctx context.Context) error {
	for i := range b.starts {
		home := fmt.Sprintf("start-%d", i)
		for _, what := range []string{"start fresh", "start again"} { // the second time the folder is there
			server, err := b.startIris(ctx, home, false)
			if err != nil {
				return err
			}
			b.addTime(what, server.Ready)
			if i > 0 || what == "start fresh" {
				if err := server.Stop(); err != nil {
					return err
				}
				continue
			}
			before, err := server.cpu()
			if err != nil {
				return err
			}
			const rest = 5 * time.Second
			select {
			case <-ctx.Done():
			case <-time.After(rest):
			}
			after, err := server.cpu()
			if err != nil {
				return err
			}
			rss, err := server.rss()
			if err != nil {
				return err
			}
			b.add("memory idle", rss)
			b.add("cpu idle", 100*(after-before).Seconds()/rest.Seconds())
			if err := server.Stop(); err != nil {
				return err
			}
		}
	}
	return nil
}
