package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/agent"
	"github.com/iris-mcp/iris-mcp/dispatch"
	"github.com/iris-mcp/iris-mcp/httpapi"
	"github.com/iris-mcp/iris-mcp/internal/audit"
	"github.com/iris-mcp/iris-mcp/internal/auth"
	"github.com/iris-mcp/iris-mcp/internal/bus"
	"github.com/iris-mcp/iris-mcp/internal/cert"
	"github.com/iris-mcp/iris-mcp/internal/config"
	"github.com/iris-mcp/iris-mcp/internal/limit"
	"github.com/iris-mcp/iris-mcp/internal/metrics"
	"github.com/iris-mcp/iris-mcp/internal/owner"
	"github.com/iris-mcp/iris-mcp/internal/process"
	"github.com/iris-mcp/iris-mcp/internal/store"
	"github.com/iris-mcp/iris-mcp/internal/trace"
	"github.com/iris-mcp/iris-mcp/mcp"
	"github.com/iris-mcp/iris-mcp/pool"
	"github.com/iris-mcp/iris-mcp/queue"
)

// own builds the parts, hands them to each other, and serves. What is built first is closed
// last. Its error is a notStarted until all is built.
func (s server) own(ctx context.Context, own *owner.Owner, log *slog.Logger) (err error) {
	built := false
	defer func() {
		if err != nil && !built {
			err = notStarted{err}
		}
	}()
	cfg, err := config.Load(s.configFile)
	if err != nil {
		return err
	}
	setLevel(cfg)
	for _, w := range cfg.Warnings {
		log.Warn("configuration", "warning", w)
	}
	live := config.NewLive(cfg)

	keeper := process.New(dataID(s.home), log)
	defer func() { err = errors.Join(err, keeper.Close()) }()
	if n := keeper.SweepAll(ctx); n > 0 {
		log.Warn("ended what an earlier run had left behind", "processes", n)
	}
	if err := guard(keeper); err != nil {
		log.Warn("if Iris is killed, a tool at work may live on until the next start", "error", err)
	}
	db, err := store.Open(ctx, storeFile(s.home))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.Bound(func() int { return live.Get().Queue.MaxWaiting })
	keys, err := keysOf(s.home, db, live, log)
	if err != nil {
		return err
	}
	warnOfKeys(ctx, db, cfg, log)
	var ln net.Listener
	var crt *cert.Cert
	if cfg.API.Enabled {
		if t := cfg.API.TLS; t.Cert != "" {
			if crt, err = cert.Open(t.Cert, t.Key, pinsFile(s.home), log); err != nil {
				return err
			}
		}
		if ln, err = s.listen(ctx, cfg, db); err != nil {
			return err
		}
		defer os.Remove(addressFile(s.home))
		defer ln.Close() // the fronts close it too; this is for an error before they serve
	}

	events := bus.New(db, log)
	defer func() { err = errors.Join(err, events.Close()) }()
	var processes *pool.Pool // made below
	state := metrics.State{
		Teams: live.Teams, Processes: func(team string) []iris.Process { return processes.Processes(team) },
		Backlog: db.Backlog, Refused: live.LastError, Size: func() int64 { return recordSize(s.home) }, Log: log,
	}
	if crt != nil {
		state.Expires = crt.Expires
	}
	figures := metrics.New(version, state)
	traces := trace.Open(os.Getenv, version, log)
	defer func() { err = errors.Join(err, traces.Close()) }()
	onlooker := watch{figures, traces}
	launcher := agent.New(agent.Config{Keeper: keeper, Log: log})
	processes = pool.New(pool.Config{
		MaxProcesses: func() int { return live.Get().Settings.MaxProcesses },
		Teams:        live.Teams,
		Starts:       runtime.NumCPU(),
		RSS:          process.RSS,
	}, func(ctx context.Context, t iris.Team, agentID string, resume bool) (pool.Agent, error) {
		began := time.Now()
		a, err := launcher.Start(ctx, t, agentID, resume)
		figures.Started(t.Name, time.Since(began), err)
		if err != nil {
			return nil, err // not a nil *agent.Agent in an interface
		}
		return a, nil
	}, db, log)
	defer func() { err = errors.Join(err, processes.Close()) }()
	var d *dispatch.Dispatcher
	jobs := queue.New(queue.Config{
		Worker: fmt.Sprint("pid ", os.Getpid()),
		Grace:  func() time.Duration { return turnGrace(live.Get().Settings.ShutdownGrace) },
		Limits: func() queue.Limits { return limits(live, d.Resting()) },
	}, db, log)
	sender, deliveries, err := s.deliveries(ctx, db, live, figures, log)
	if err != nil {
		return err
	}
	deeds := audit.New(s.home, log)
	d = dispatch.New(dispatch.Config{
		MaxAttempts: func() int { return live.Get().Queue.MaxAttempts },
		Backoff:     func() time.Duration { return live.Get().Queue.Backoff },
		Audit:       deeds,
		Callback:    sender.Check,
	}, live, watchedStore{db, onlooker}, watchedBus{events, onlooker}, watchedPool{processes, onlooker}, jobs, log)
	why := dispatch.Reasons{Shutdown: queue.ErrShutdown, LeaseLost: queue.ErrLeaseLost}
	jobs.Handle(iris.JobTurn, func(ctx context.Context, j iris.Job) {
		figures.Waited(j.Team, time.Since(j.RunAt))
		traces.Claimed(j)
		d.Run(ctx, j, why)
	})
	if err := d.Recover(ctx); err != nil {
		return err
	}
	built = true
	return s.serve(ctx, parts{own, live, db, keys, ln, crt, processes, jobs, deliveries, d, deeds, onlooker, log})
}

// parts are what serve serves.
type parts struct {
	own        *owner.Owner
	live       *config.Live
	db         *store.DB
	keys       *auth.Auth
	ln         net.Listener // nil without HTTP
	cert       *cert.Cert   // nil without TLS
	processes  *pool.Pool
	jobs       *queue.Queue
	deliveries *queue.Queue
	d          *dispatch.Dispatcher
	deeds      *audit.Log
	watch      watch
	log        *slog.Logger
}

// serve runs the parts until the context or the MCP client ends. Then nothing new is taken,
// what runs may end within the grace, and only when that is over do the fronts, which still
// deliver its answers, end too.
func (s server) serve(ctx context.Context, p parts) error {
	sessionSecret, err := sessionSecretOf(s.home)
	if err != nil {
		return err
	}
	taking, stopTaking := context.WithCancelCause(ctx) // jobs are claimed, messages accepted
	defer stopTaking(nil)
	serving, stopServing := context.WithCancelCause(context.WithoutCancel(ctx)) // fronts answer
	defer stopServing(nil)
	defer context.AfterFunc(taking, p.d.Stop)()

	manager := newNotifier(p.log) // before anything is started
	var g errgroup.Group
	g.Go(func() error {
		defer stopServing(nil)
		return p.jobs.Serve(taking)
	})
	g.Go(func() error { return p.deliveries.Serve(serving) }) // until the last turn is over
	g.Go(func() error { return p.processes.Serve(taking) })
	p.live.OnChange(func(c *config.Config) {
		setLevel(c)
		p.jobs.Wake()
		p.processes.Adapt()
		warnOfKeys(taking, p.db, c, p.log)
	})
	g.Go(func() error {
		tend(taking, p.db, p.live, p.log)
		return nil
	})
	g.Go(func() error {
		p.live.Watch(taking, p.log)
		return nil
	})
	defer context.AfterFunc(taking, func() {
		grace := p.live.Get().Settings.ShutdownGrace
		manager.stopping(grace + endsWithin)
		p.log.Info("stopping: what runs may end; a second Ctrl-C cuts it off", "grace", grace)
	})()
	address := "off"
	fronts := mcp.New(p.d, p.db, p.log, version)
	part := func(serve func() error) { // a front that ends takes the others with it
		g.Go(func() error {
			err := serve()
			if serving.Err() != nil {
				return nil // it was told to
			}
			stopTaking(err)
			return err
		})
	}
	if p.ln != nil {
		address = baseURL(p.ln.Addr(), p.cert != nil)
		var certificate httpapi.Certificate
		if p.cert != nil {
			certificate = p.cert.Get
		}
		http := httpapi.New(httpapi.Config{
			Certificate:   certificate,
			ConfigError:   p.live.LastError,
			MaxBodyBytes:  func() int64 { return int64(p.live.Get().API.MaxBodyBytes) },
			Origins:       func() []string { return p.live.Get().API.CORS.Origins },
			MCP:           fronts.HTTP(sessionSecret),
			ShutdownGrace: 2 * time.Second, // the jobs' grace is over by then

			Limits:         limit.New(0), // of callers there are only so many
			Failures:       limit.New(10_000),
			Basic:          func() bool { return p.live.Get().API.Auth.Type == "basic" },
			Audit:          p.deeds,
			Fault:          p.jobs.Fault,
			Metrics:        p.watch.metrics,
			Traces:         p.watch.traces,
			FileKeys:       p.live.Keys,
			File:           s.configFile,
			TrustedProxies: func() []netip.Prefix { return p.live.Get().API.TrustedProxies },
		}, p.d, p.db, p.keys, p.log)
		defer context.AfterFunc(taking, http.Drain)()
		part(func() error { return http.Serve(serving, p.ln) })
		if s.ready != nil {
			s.ready(address)
		}
	}
	part(func() error {
		me := owner.Welcome{Version: version, Config: s.configFile}
		return p.own.Serve(serving, me, func(ctx context.Context, conn net.Conn, h owner.Hello) {
			who := caller(h, p.live.Teams())
			p.log.Info("relay came", "pid", h.PID, "from", who.From())
			if err := fronts.Serve(ctx, mcp.Lines(conn, conn), who); err != nil && ctx.Err() == nil {
				p.log.Warn("relay lost", "pid", h.PID, "error", err)
			}
		})
	})
	if s.in != nil {
		part(func() error {
			return fronts.Serve(serving, mcp.Lines(s.in, s.out), caller(s.hello(), p.live.Teams()))
		})
	}
	manager.ready(address)
	// What the start left behind is a tenth and more of what an idle Iris would hold on to.
	defer time.AfterFunc(time.Second, debug.FreeOSMemory).Stop()
	p.log.Info("serving", "version", version, "home", s.home, "config", s.configFile, "teams", len(p.live.Teams()), "mcp", s.in != nil, "http", address)
	err = g.Wait()
	p.log.Info("stopped")
	return err
}

// listen opens the HTTP side and writes down where it is.
func (s server) listen(ctx context.Context, cfg *config.Config, db *store.DB) (net.Listener, error) {
	stored, err := db.Keys(ctx)
	if err != nil {
		return nil, err
	}
	if err := cfg.CheckBind(slices.ContainsFunc(stored, iris.Key.Valid)); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", cfg.API.Address())
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d is taken by another program: set api.port in %s to a free one, or api.enabled: false to do without HTTP", cfg.API.Port, s.configFile)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP: %w; check api.host and api.port in %s", err, s.configFile)
	}
	if err := os.WriteFile(addressFile(s.home), []byte(baseURL(ln.Addr(), cfg.API.TLS.Cert != "")+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("write down the address: %w", err), ln.Close())
	}
	return ln, nil
}

// baseURL is where a client on this machine reaches the address.
func baseURL(addr net.Addr, secure bool) string {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return scheme + addr.String()
	}
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + net.JoinHostPort(host, fmt.Sprint(tcp.Port))
}

// endsWithin is how much longer than its grace a shutdown may take: an agent that heeds nothing
// is ended in three steps.
const endsWithin = 10 * time.Second

// turnGrace is the part of the grace in which turns may end by themselves. The rest is for
// interrupting those that do not, and for ending the processes.
func turnGrace(grace time.Duration) time.Duration {
	return grace - min(time.Second, grace/4)
}

// limits are what the queue may run now.
func limits(live *config.Live, resting []string) queue.Limits {
	return queue.Limits{
		Resting: resting,
		Jobs:    live.Get().Queue.MaxConcurrent,
		Team: func(name string) (jobs, tasks int) {
			t, err := live.Team(name)
			if err != nil {
				return 1, 1 // it was removed; its messages fail one by one
			}
			return t.MaxProcesses, t.ParallelTasks
		},
	}
}

// sessionSecretOf is what ids of MCP sessions over HTTP are made with. It comes from the local
// key, so that the next owner of the data folder knows them again.
func sessionSecretOf(home string) ([]byte, error) {
	local, err := auth.LocalKey(home)
	sum := sha256.Sum256([]byte("MCP sessions of " + local))
	return sum[:], err
}

// dataID names the data folder in the marks of what runs for it.
func dataID(home string) string {
	if real, err := filepath.EvalSymlinks(home); err == nil {
		home = real
	}
	sum := sha256.Sum256([]byte(home))
	return hex.EncodeToString(sum[:8])
}

func setLevel(c *config.Config) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(c.Settings.LogLevel)); err == nil { // the configuration is checked
		level.Set(l)
	}
}
