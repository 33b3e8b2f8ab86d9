// Package iris is the Go client of Iris, which lets programs talk to Claude Code teams as if
// they were services.
//
//	client := iris.NewClient(
//		iris.WithBaseURL("http://localhost:3100"),
//		iris.WithAPIKey(os.Getenv("IRIS_API_KEY")),
//	)
//	answer, err := client.Teams.Backend.Ask(ctx, "Which database do we use?")
//
// Ask waits for the whole answer, Execute leaves a task behind and returns at once, Stream
// yields the answer while it is written. What the server refuses comes back as an *Error with
// a Code; a server that cannot be reached as an error that wraps ErrUnreachable.
//
// Every call takes a context and ends with it. A call that ends early stops waiting and
// nothing else: the team goes on, and Messages.Get or Messages.Wait fetch its answer. Calls
// that the server turned away for now (429, 503) are repeated as it says, within the bounds of
// WithRetry. Clients and all that hangs on them are safe for concurrent use.
package iris

import (
	"net/http"
	"strings"
	"time"
)

// DefaultBaseURL is where a client looks for Iris unless WithBaseURL says otherwise.
const DefaultBaseURL = "http://127.0.0.1:3100"

// Client talks to one Iris server.
type Client struct {
	Teams    *Teams    // the teams that can be asked
	Messages *Messages // what was said to them, and what became of it

	Permissions *Permissions // what they want leave for

	baseURL string
	apiKey  string
	http    *http.Client
	retry   retryRule
}

// NewClient makes a client. It connects to nothing yet.
func NewClient(options ...ClientOption) *Client {
	c := &Client{
		baseURL: DefaultBaseURL,
		// No Timeout: it would cut long answers. Contexts say when to stop.
		http:  &http.Client{},
		retry: retryRule{tries: 4, longest: time.Minute},
	}
	for _, option := range options {
		option(c)
	}
	c.baseURL = strings.TrimSuffix(strings.TrimRight(c.baseURL, "/"), "/api/v1")
	c.Messages = &Messages{client: c}
	c.Permissions = &Permissions{client: c}
	c.Teams = &Teams{client: c}
	c.Teams.Backend = c.Teams.Team("backend")
	c.Teams.Frontend = c.Teams.Team("frontend")
	return c
}

// BaseURL is the server's address, without a path.
func (c *Client) BaseURL() string { return c.baseURL }

// ClientOption changes how a client works.
type ClientOption func(*Client)

// WithBaseURL says where the server is: "http://localhost:3100".
func WithBaseURL(url string) ClientOption { return func(c *Client) { c.baseURL = url } }

// WithAPIKey sets the key that every call carries: "iris_sk_…".
func WithAPIKey(key string) ClientOption { return func(c *Client) { c.apiKey = key } }

// WithHTTPClient makes all calls through another http.Client, for its proxy, its
// certificates or its tracing. A Timeout of that client also cuts answers and streams that
// take longer.
func WithHTTPClient(h *http.Client) ClientOption { return func(c *Client) { c.http = h } }

// WithRetry bounds how a call that was turned away with 429 or 503 is repeated: at most
// tries times in all (1: never again), and not if the server asks for a longer pause than
// longest, or one beyond the context's deadline. The default is 4 and a minute.
func WithRetry(tries int, longest time.Duration) ClientOption {
	return func(c *Client) { c.retry = retryRule{tries: max(tries, 1), longest: longest} }
}
