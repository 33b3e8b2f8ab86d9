// Package cert is the server's TLS certificate: it follows its files while the server runs,
// and lets this machine's own commands know it again (Pinned), whoever signed it.
package cert

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// look is how long a certificate is served without a look at its files.
const look = time.Second

// soon is how long before its end a certificate is warned about.
const soon = 14 * 24 * time.Hour

// Cert is a certificate and its key in two PEM files. Its methods may be called at once.
type Cert struct {
	certFile, keyFile string
	pins              string
	log               *slog.Logger

	mu      sync.Mutex
	now     *tls.Certificate
	looked  time.Time
	stamp   stamp // of the files as they were last read, good or bad
	refused error // what was wrong with them then
}

// stamp tells one state of the two files from another, also when a file, or the folder that a
// symlink leads to, was replaced by one of the same size in the same instant.
type stamp [2]fs.FileInfo

func (s stamp) same(o stamp) bool {
	for i := range s {
		if s[i] == nil || o[i] == nil || s[i].Size() != o[i].Size() || !s[i].ModTime().Equal(o[i].ModTime()) || !os.SameFile(s[i], o[i]) {
			return false
		}
	}
	return true
}

// Open reads the files. The file pins is where the fingerprint is written down that Pinned
// looks for.
func Open(certFile, keyFile, pins string, log *slog.Logger) (*Cert, error) {
	c := &Cert{certFile: certFile, keyFile: keyFile, pins: pins, log: log, looked: time.Now()}
	c.stamp = c.stat()
	if err := c.read(); err != nil {
		return nil, fmt.Errorf("%w; check api.tls.cert and api.tls.key", err)
	}
	return c, nil
}

// Get is the certificate for a handshake, for tls.Config.GetCertificate. Once a second it
// looks whether the files have changed; a pair that is no good, or is only half there, changes
// nothing and is logged.
func (c *Cert) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < look {
		return c.now, nil
	}
	c.looked = time.Now()
	is := c.stat()
	if is.same(c.stamp) {
		return c.now, nil
	}
	c.stamp = is
	was := c.now
	switch err := c.read(); {
	case err != nil && (c.refused == nil || c.refused.Error() != err.Error()):
		c.log.Error("the new TLS certificate is no good; the old one stays", "error", err)
		c.refused = err
	case err == nil:
		c.refused = nil
		if !slices.EqualFunc(was.Certificate, c.now.Certificate, slices.Equal) {
			c.log.Info("the TLS certificate changed", "file", c.certFile, "until", c.now.Leaf.NotAfter)
		}
	}
	return c.now, nil
}

// Expires is the end of the certificate that is served.
func (c *Cert) Expires() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.Leaf.NotAfter
}

// stat looks at the files; one that is not there has no state.
func (c *Cert) stat() (s stamp) {
	for i, file := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(file); err == nil {
			s[i] = info
		}
	}
	return s
}

// read puts the files' pair in force, after it has written down its fingerprint.
func (c *Cert) read() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("read the TLS certificate: %w", err)
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return fmt.Errorf("read the TLS certificate: %w", err)
		}
	}
	if left := time.Until(pair.Leaf.NotAfter); left < soon {
		c.log.Warn("the TLS certificate ends soon, or has ended", "file", c.certFile, "until", pair.Leaf.NotAfter)
	}
	known := fingerprint(pair.Leaf) + "\n"
	if c.now != nil { // a handshake may be under way
		known += fingerprint(c.now.Leaf) + "\n"
	}
	if err := os.WriteFile(c.pins, []byte(known), 0o600); err != nil {
		return fmt.Errorf("write down the TLS certificate: %w", err)
	}
	c.now = &pair
	return nil
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Pinned is the TLS of a client that takes the certificates alone whose fingerprints stand in
// the file: those of this data folder's own server. Who signed them, for which name and for
// how long does not matter; only that server can write there.
func Pinned(pins string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(s tls.ConnectionState) error {
			known, err := os.ReadFile(pins) // after the server may have changed it
			if err != nil {
				return fmt.Errorf("know the server's certificate: %w", err)
			}
			if !slices.Contains(strings.Fields(string(known)), fingerprint(s.PeerCertificates[0])) {
				return errors.New("the certificate is not that of this data folder's server")
			}
			return nil
		},
	}
}
