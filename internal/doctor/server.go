package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// server looks whether a server runs on the data folder, and if not, whether one could.
func (d *Doctor) server(ctx context.Context, web *http.Client) []Finding {
	if d.Running != "" && alive(ctx, web, d.Running) {
		return []Finding{{"server", OK, "runs at " + d.Running, ""}}
	}
	found := []Finding{{"server", OK, "does not run", `start it with "iris-mcp serve"`}}
	if d.Unkeyed != "" {
		return append(found, Finding{Subject: "port", Level: Fail, Text: d.Unkeyed})
	}
	if d.Address == "" {
		return found
	}
	f := Finding{Subject: "port", Level: OK, Text: d.Address + " is free"}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.Address)
	switch {
	case err == nil:
		err = ln.Close()
		if err != nil {
			f.Level, f.Text = Fail, err.Error()
		}
	case errors.Is(err, syscall.EADDRINUSE):
		holder := "another program"
		if alive(ctx, web, (&url.URL{Scheme: "http", Host: d.Address}).String()) {
			holder = "another Iris, with another data folder,"
		}
		f.Level, f.Text, f.Do = Fail, fmt.Sprintf("%s holds %s", holder, d.Address), "end it, or choose another api.port"
	case errors.Is(err, syscall.EACCES):
		f.Level, f.Text, f.Do = Fail, fmt.Sprintf("%s needs more rights than you have", d.Address), "choose an api.port above 1023"
	default:
		f.Level, f.Text, f.Do = Fail, fmt.Sprintf("cannot listen on %s: %v", d.Address, err), "correct api.host and api.port"
	}
	return append(found, f)
}

// alive reports whether an Iris answers there.
func alive(ctx context.Context, web *http.Client, base string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/healthz", nil)
	if err != nil {
		return false
	}
	resp, err := web.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	return err == nil && resp.StatusCode == http.StatusOK && strings.Contains(string(text), `"status"`)
}
