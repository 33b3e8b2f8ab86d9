package webhook_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/webhook"
)

// names is a resolver that knows these names alone, from a server of its own.
func names(t *testing.T, known map[string]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		packet := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			if text, err := lookUp(packet[:n], known); err == nil {
				conn.WriteTo(text, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func lookUp(packet []byte, known map[string]string) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil {
		return nil, err
	}
	q := m.Questions[0]
	m.Header.Response, m.Header.Authoritative = true, true
	m.Additionals = nil
	text, ok := known[strings.TrimSuffix(q.Name.String(), ".")]
	if !ok {
		m.Header.RCode = dnsmessage.RCodeNameError
		return m.Pack()
	}
	addr := netip.MustParseAddr(text)
	h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
	switch {
	case q.Type == dnsmessage.TypeA && addr.Is4():
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: addr.As4()}})
	case q.Type == dnsmessage.TypeAAAA && addr.Is6():
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
	}
	return m.Pack()
}

// private are addresses that are nobody's on the internet.
var private = []string{
	"127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "100.100.100.200",
	"169.254.169.254", "168.63.129.16", "192.0.0.192", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
	"::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:0:7f00:1::",
	"fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
}

func guarded(c *webhook.Config) {
	s := c.Settings()
	s.AllowPrivate = false
	c.Settings = func() webhook.Settings { return s }
}

func TestANameOfAPrivateAddressIsNotDialled(t *testing.T) {
	came := make(chan struct{}, 100)
	port := raw(t, func(net.Conn) { came <- struct{}{} })
	port = port[strings.LastIndexByte(port, ':'):]
	for _, address := range private {
		name := "hook.example.com"
		r := newRecord("http://" + name + port)
		run(t, r, func(c *webhook.Config) {
			guarded(c)
			c.Resolver = names(t, map[string]string{name: address})
		})
		a := r.last(t)
		if refused := strings.Contains(a.Problem, "private or reserved"); r.delivery.State != iris.DeliveryPending || !refused && netip.MustParseAddr(address).Is4() {
			t.Errorf("%s: the delivery is %+v", address, r.delivery)
		}
		if strings.Contains(a.Problem, address) {
			t.Errorf("the problem tells the address: %s", a.Problem)
		}
	}
	select {
	case <-came:
		t.Error("a private address was dialled")
	default:
	}
}

func TestAllowPrivateCountsAtOnce(t *testing.T) {
	url, _ := receiver(t, status(200))
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
	allow := false
	r := newRecord("http://hook.example.com:" + port)
	s := sender(r, func(c *webhook.Config) {
		settings := c.Settings()
		c.Settings = func() webhook.Settings { settings.AllowPrivate = allow; return settings }
		c.Resolver = names(t, map[string]string{"hook.example.com": "127.0.0.1"})
	})
	for _, allow = range []bool{false, true, false} {
		s.Run(t.Context(), iris.Job{MessageID: "msg_01"}, errShutdown)
		if delivered := r.last(t).Problem == ""; delivered != allow {
			t.Errorf("allowPrivate %v: the delivery is %+v", allow, r.delivery)
		}
	}
}

func TestCheck(t *testing.T) {
	const (
		whole  = "must be a whole address: https://… or http://…"
		isPriv = "leads to a private or reserved address; webhooks.allowPrivate: true in the configuration allows that"
		noHost = "names no host: neither an address nor a name"
		noPort = "has no good port: from 1 to 65535"
	)
	for url, want := range map[string]string{
		"https://api.example.com/webhooks/iris": "",
		"http://example.com":                    "",
		"HTTPS://EXAMPLE.COM.:8443/a%20b?c=d":   "",
		"https://bücher.example/ü":              "",
		"https://a_b.example":                   "",
		"https://1.1.1.1/":                      "",
		"https://[2606:4700::1111]:8080/":       "",
		"":                                      whole,
		"example.com/hook":                      whole,
		"/hook":                                 whole,
		"https:///hook":                         whole,
		"https:hook":                            whole,
		"ftp://example.com":                     whole,
		"file:///etc/passwd":                    whole,
		"gopher://example.com":                  whole,
		"https://me:pw@example.com":             "must not have a user in it: send a credential in callback.headers",
		"https://@example.com":                  "must not have a user in it: send a credential in callback.headers",
		"https://example.com/#a":                "must not have a # in it: what follows it is never sent",
		"https://example.com/a b":               "is not a URL: encode what cannot stand in one",
		"https://example.com/\r\nX: y":          "is not a URL: encode what cannot stand in one",
		"https://exa mple.com/":                 "is not a URL: encode what cannot stand in one",
		"https://example.com:x":                 "is not a URL: encode what cannot stand in one",
		"https://example.com:":                  noPort,
		"https://example.com:0":                 noPort,
		"https://example.com:65536":             noPort,
		"https://example.com:25":                "has the port of another protocol: 80, 443 and those from 1024 are good; webhooks.allowPrivate: true in the configuration allows any",
		"https://2130706433/":                   noHost,
		"https://127.1/":                        noHost,
		"https://0x7f.0.0.1/":                   noHost,
		"https://0x7f000001/":                   noHost,
		"https://0177.0.0.01/":                  noHost,
		"https://127.0.0.1./":                   noHost,
		"https://-x.example/":                   noHost,
		"https://.../":                          noHost,
		"https://a%25b/":                        noHost,
		"https://localhost/":                    isPriv,
		"https://x.LocalHost.:8080/":            isPriv,
		"https://%31%32%37.0.0.1/":              "is not a URL: encode what cannot stand in one",
		"https://[fe80::1%25eth0]/":             isPriv,
		"https://" + strings.Repeat("a", 2050):  "must have at most 2048 bytes",
	} {
		if field, problem := sender(newRecord(""), guarded).Check(iris.Callback{URL: url}); problem != want || (want != "") != (field == "callback.url") {
			t.Errorf("%q: %q %q, want %q", url, field, problem, want)
		}
	}
	for _, address := range private {
		if strings.Contains(address, ":") {
			address = "[" + address + "]"
		}
		c := iris.Callback{URL: "https://" + address + ":8080/"}
		if _, problem := sender(newRecord(""), guarded).Check(c); problem != isPriv {
			t.Errorf("%s: %q", address, problem)
		}
		if _, problem := sender(newRecord(""), nil).Check(c); problem != "" {
			t.Errorf("%s, although it is allowed: %q", address, problem)
		}
	}
}

func TestCheckMethodAndHeaders(t *testing.T) {
	many := map[string]string{}
	for _, c := range "abcdefghijklmnopqrstu" {
		many["x-"+string(c)] = "1"
	}
	for _, tt := range []struct {
		method         string
		headers        map[string]string
		field, problem string
	}{
		{"", nil, "", ""},
		{"PATCH", map[string]string{"Authorization": "Bearer x", "X-A_b": "a\tb ~", "Content-Type": "text/json"}, "", ""},
		{"GET", nil, "callback.method", "must be one of: POST, PUT, PATCH"},
		{"post", nil, "callback.method", "must be one of: POST, PUT, PATCH"},
		{"", map[string]string{"host": "x"}, "callback.headers.host", "is set by Iris itself"},
		{"", map[string]string{"CONTENT-length": "1"}, "callback.headers.CONTENT-length", "is set by Iris itself"},
		{"", map[string]string{"Transfer-Encoding": "chunked"}, "callback.headers.Transfer-Encoding", "is set by Iris itself"},
		{"", map[string]string{"connection": "x"}, "callback.headers.connection", "is set by Iris itself"},
		{"", map[string]string{"Proxy-Authorization": "x"}, "callback.headers.Proxy-Authorization", "is set by Iris itself"},
		{"", map[string]string{"webhook-signature": "x"}, "callback.headers.webhook-signature", "is set by Iris itself"},
		{"", map[string]string{"X A": "x"}, "callback.headers", "have a name that is none: letters, digits and dashes, at most 100"},
		{"", map[string]string{"": "x"}, "callback.headers", "have a name that is none: letters, digits and dashes, at most 100"},
		{"", map[string]string{"X-A": "a\r\nHost: b"}, "callback.headers.X-A", "must have visible ASCII characters only"},
		{"", map[string]string{"X-A": "ü"}, "callback.headers.X-A", "must have visible ASCII characters only"},
		{"", many, "callback.headers", "must be at most 20"},
		{"", map[string]string{"X-A": strings.Repeat("x", 8200)}, "callback.headers", "must have at most 8192 bytes together"},
	} {
		field, problem := sender(newRecord(""), guarded).Check(iris.Callback{URL: "https://example.com", Method: tt.method, Headers: tt.headers})
		if field != tt.field || problem != tt.problem {
			t.Errorf("%s %q: %q %q, want %q %q", tt.method, tt.headers, field, problem, tt.field, tt.problem)
		}
	}
	if field, problem := sender(newRecord(""), guarded).Check(iris.Callback{URL: "https://example.com", Headers: map[string]string{"a": "1", "A": "2"}}); !strings.HasPrefix(field, "callback.headers.") || problem != "is given twice" {
		t.Errorf("a header given twice: %q %q", field, problem)
	}
}
