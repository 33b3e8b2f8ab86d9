package cert_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iris-mcp/iris-mcp/internal/cert"
	"github.com/iris-mcp/iris-mcp/internal/cert/certtest"
)

// TestTheFilesAreFollowed: a new pair counts within a second, and nothing that is no pair.
func TestTheFilesAreFollowed(t *testing.T) {
	dir := t.TempDir()
	crt, key, pins := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem"), filepath.Join(dir, "pins")
	write := func(t *testing.T, name string, lasts time.Duration) {
		t.Helper()
		if err := certtest.Write(crt, key, name, time.Now().Add(lasts)); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		log := slog.New(slog.NewTextHandler(&logged, nil))
		if _, err := cert.Open(crt, key, pins, log); err == nil || !strings.Contains(err.Error(), "api.tls.cert") {
			t.Fatalf("without files: %v", err)
		}
		write(t, "first", 365*24*time.Hour)
		c, err := cert.Open(crt, key, pins, log)
		if err != nil {
			t.Fatal(err)
		}
		serves := func(name string) {
			t.Helper()
			got, err := c.Get(nil)
			if err != nil || got.Leaf.Subject.CommonName != name {
				t.Fatalf("%v, %v; want %s", got.Leaf.Subject, err, name)
			}
			if c.Expires() != got.Leaf.NotAfter {
				t.Errorf("expires %s, not %s", c.Expires(), got.Leaf.NotAfter)
			}
			server := &tls.Config{GetCertificate: c.Get}
			if err := shake(t, server, cert.Pinned(pins)); err != nil {
				t.Errorf("%s is not known again: %v", name, err)
			}
		}
		serves("first")
		logged.Reset()

		write(t, "second", 365*24*time.Hour)
		serves("first")
		time.Sleep(time.Second)
		serves("second")
		if got := logged.String(); !strings.Contains(got, "the TLS certificate changed") {
			t.Errorf("logged %s", got)
		}

		for name, text := range map[string]string{"half a file": "-----BEGIN CERT", "nothing": ""} {
			logged.Reset()
			if err := os.WriteFile(crt, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				time.Sleep(time.Second)
				serves("second")
			}
			if got := logged.String(); strings.Count(got, "the old one stays") > 1 {
				t.Errorf("%s: logged %s", name, got)
			}
		}
		if err := os.Remove(key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		serves("second")

		write(t, "third", time.Hour)
		time.Sleep(time.Second)
		serves("third")
		if got := logged.String(); !strings.Contains(got, "ends soon") {
			t.Errorf("logged %s", got)
		}
	})
}

// TestPinned: a certificate of somebody else is refused, however good it is.
func TestPinned(t *testing.T) {
	dir := t.TempDir()
	var pairs [2]*cert.Cert
	for i, name := range []string{"ours", "theirs"} {
		at := func(file string) string { return filepath.Join(dir, name+file) }
		if err := certtest.Write(at("c"), at("k"), "localhost", time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		var err error
		if pairs[i], err = cert.Open(at("c"), at("k"), at("pins"), slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
	pins := filepath.Join(dir, "ourspins")
	if err := shake(t, &tls.Config{GetCertificate: pairs[0].Get}, cert.Pinned(pins)); err != nil {
		t.Error(err)
	}
	for name, pins := range map[string]string{"another certificate": pins, "no file": filepath.Join(dir, "none")} {
		if err := shake(t, &tls.Config{GetCertificate: pairs[1].Get}, cert.Pinned(pins)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// shake is the client's side of a handshake.
func shake(t *testing.T, server, client *tls.Config) error {
	t.Helper()
	a, b := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer a.Close()
		s := tls.Server(a, server)
		if s.Handshake() == nil {
			io.Copy(io.Discard, s)
		}
	}()
	err := tls.Client(b, client).Handshake()
	b.Close()
	<-done
	return err
}
