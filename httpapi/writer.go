package httpapi

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// writer is where every answer is written to: its client has so much time for each piece. A
// write that fails ends the request's context, by net/http, and so a stream; nobody else
// notices. net/http lifts the deadline after the request.
type writer struct {
	gin.ResponseWriter
	ctl      *http.ResponseController
	patience time.Duration
}

// patient puts the bound around a request's answer.
func (s *Server) patient(g *gin.Context) *writer {
	w := &writer{g.Writer, http.NewResponseController(g.Writer), s.cfg.WriteTimeout}
	g.Writer = w
	return w
}

func (w *writer) Write(p []byte) (int, error) {
	w.deadline()
	return w.ResponseWriter.Write(p)
}

func (w *writer) WriteString(s string) (int, error) {
	w.deadline()
	return w.ResponseWriter.WriteString(s)
}

func (w *writer) Flush() {
	w.deadline()
	w.ResponseWriter.Flush()
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// deadline fails in tests without a connection only.
func (w *writer) deadline() { _ = w.ctl.SetWriteDeadline(time.Now().Add(w.patience)) }
