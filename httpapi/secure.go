package httpapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// secure accepts TLS connections whose handshake is done. net/http would do it by itself, and
// then nothing could come between it and the connection (see refusing).
type secure struct {
	net.Listener
	config   *tls.Config
	patience time.Duration // for a handshake
	log      *slog.Logger

	conns chan net.Conn
	errs  chan error
	ended <-chan struct{}
	end   context.CancelFunc
	work  sync.WaitGroup // run and the handshakes
}

// newSecure begins to accept from ln, until Close.
func newSecure(ln net.Listener, certificate Certificate, patience time.Duration, log *slog.Logger) *secure {
	l := &secure{
		Listener: ln,
		config: &tls.Config{
			MinVersion: tls.VersionTLS12, GetCertificate: certificate, NextProtos: []string{"h2", "http/1.1"},
		},
		patience: patience, log: log, conns: make(chan net.Conn), errs: make(chan error),
	}
	ctx, end := context.WithCancel(context.Background())
	l.ended, l.end = ctx.Done(), end
	l.work.Go(func() { l.run(ctx) })
	return l
}

func (l *secure) run(ctx context.Context) {
	for {
		conn, err := l.Listener.Accept()
		if err == nil {
			l.work.Go(func() { l.handshake(ctx, conn) })
			continue
		}
		select {
		case l.errs <- err: // the server waits a moment and accepts again, or ends
		case <-ctx.Done():
			return
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// handshake gives the connection to Accept, or closes it. A handshake that fails is the
// client's affair: anybody can make as many as he likes, so it is no line of the log.
func (l *secure) handshake(ctx context.Context, raw net.Conn) {
	limit, stop := context.WithTimeout(ctx, l.patience)
	defer stop()
	conn := tls.Server(raw, l.config)
	if err := conn.HandshakeContext(limit); err != nil {
		if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil && isHTTP(plain.RecordHeader[:]) {
			_ = raw.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = raw.Write(refuse(http.StatusBadRequest, iris.Errorf(iris.CodeInvalidRequest, "this server speaks HTTPS; write https:// before its address")))
		}
		l.log.Debug("no TLS connection", "address", raw.RemoteAddr(), "error", err)
		raw.Close()
		return
	}
	var ready net.Conn = conn // net/http looks for a *tls.Conn to speak HTTP/2 with
	if conn.ConnectionState().NegotiatedProtocol != "h2" {
		ready = secureRefuser{refuser{conn}, conn}
	}
	select {
	case l.conns <- ready:
	case <-ctx.Done():
		conn.Close()
	}
}

// isHTTP reports whether a request in the clear may begin like this.
func isHTTP(head []byte) bool {
	for _, method := range []string{"GET /", "HEAD ", "POST ", "PUT /", "PATCH", "DELET", "OPTIO"} {
		if bytes.HasPrefix(head, []byte(method)) {
			return true
		}
	}
	return false
}

func (l *secure) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case err := <-l.errs:
		return nil, err
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

// Close ends what newSecure began and waits for it.
func (l *secure) Close() error {
	err := l.Listener.Close()
	l.end()
	l.work.Wait()
	return err
}

// secureRefuser is a refuser that net/http knows for TLS.
type secureRefuser struct {
	refuser
	tls *tls.Conn
}

func (c secureRefuser) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }
