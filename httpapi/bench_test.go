package httpapi_test

import (
	"io"
	"net/http/httptest"
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// BenchmarkAsk is the whole HTTP side of a warm ask, over a loopback connection: its mark is
// 0.2 ms.
func BenchmarkAsk(b *testing.B) {
	f := newFront(httpapi.Config{})
	f.scripts["q"] = func(f *fake, id string) { f.end(id, iris.StatusCompleted, "a", nil) }
	srv := httptest.NewServer(f.server.Handler())
	defer srv.Close()
	b.ReportAllocs()
	for b.Loop() {
		f.forget()
		res, err := srv.Client().Do(call{path: "/api/v1/teams/backend/ask", body: `{"question":"q"}`}.request(b.Context(), srv.URL))
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		f.running.Wait()
	}
}

// BenchmarkEvent is the way of one event from the dispatcher to a client, over a loopback
// connection.
func BenchmarkEvent(b *testing.B) {
	f := newFront(httpapi.Config{})
	started := make(chan string, 1)
	f.scripts["q"] = func(_ *fake, id string) { started <- id }
	srv := httptest.NewServer(f.server.Handler())
	defer srv.Close()
	res, err := srv.Client().Do(call{path: "/api/v1/teams/backend/stream", body: `{"message":"q"}`}.request(b.Context(), srv.URL))
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	id, buf := <-started, make([]byte, 4096)
	read := func() {
		for n := 0; n < 2 || string(buf[n-2:n]) != "\n\n"; {
			m, err := res.Body.Read(buf[n:])
			if n += m; err != nil {
				b.Fatal(err)
			}
		}
	}
	read()
	b.ReportAllocs()
	for b.Loop() {
		f.emit(id, iris.Event{Kind: iris.EventChunk, Text: "a few words of an answer"})
		read()
	}
	f.end(id, iris.StatusCompleted, "a", nil)
}
