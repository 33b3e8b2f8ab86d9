package metrics

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	iris "github.com/iris-mcp/iris-mcp"
)

// State is where to look at what is so now. Its functions may be called at once.
type State struct {
	Teams     func() []iris.Team
	Processes func(team string) []iris.Process
	Backlog   func(ctx context.Context, team string) (iris.Backlog, error)
	Refused   func() error     // why the last edit of the configuration was; nil
	Size      func() int64     // of the record, in bytes
	Expires   func() time.Time // of the certificate; nil without TLS
	Log       *slog.Logger
}

// patience is how long the record may take to be asked.
const patience = 5 * time.Second

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("iris_"+name, help, labels, nil)
}

var (
	waiting   = desc("queue_waiting", "Jobs that wait.", "team")
	running   = desc("queue_running", "Jobs that run.", "team")
	processes = desc("processes", "Claude Code processes.", "team", "state")
	reloaded  = desc("config_last_reload_successful", "Whether the last edit of the configuration is in force (1) or was refused (0).")
	size      = desc("store_size_bytes", "Size of the record on the disk.")
	expires   = desc("certificate_expiry_timestamp_seconds", "When the TLS certificate that is served ends, in Unix time.")
)

// states are all that a process may be in, so that none is missing while nobody is in it.
var states = []iris.ProcessState{iris.ProcessStarting, iris.ProcessIdle, iris.ProcessBusy, iris.ProcessStopping}

// reader is a prometheus.Collector that looks at the State when it is asked.
type reader struct {
	state State
	log   *slog.Logger
}

// Describe names nothing: which teams there are changes.
func (r *reader) Describe(chan<- *prometheus.Desc) {}

// Collect tells how it is now. What cannot be read is left out, and logged.
func (r *reader) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	for _, team := range r.state.Teams() {
		count := map[iris.ProcessState]int{}
		for _, p := range r.state.Processes(team.Name) {
			count[p.State]++
		}
		for _, s := range states {
			gauge(processes, float64(count[s]), team.Name, string(s))
		}
		backlog, err := r.state.Backlog(ctx, team.Name)
		if err != nil {
			r.log.Warn("a metric can't be read", "team", team.Name, "error", err)
			continue
		}
		gauge(waiting, float64(backlog.Waiting), team.Name)
		gauge(running, float64(backlog.Running), team.Name)
	}
	good := 1.0
	if r.state.Refused() != nil {
		good = 0
	}
	gauge(reloaded, good)
	gauge(size, float64(r.state.Size()))
	if r.state.Expires != nil {
		gauge(expires, float64(r.state.Expires().Unix()))
	}
}
