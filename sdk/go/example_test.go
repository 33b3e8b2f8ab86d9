package iris_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	iris "github.com/iris-mcp/go-client"
)

func Example() {
	os.Setenv("IRIS_API_KEY", "iris_sk_example")
	client := iris.NewClient(
		iris.WithBaseURL(exampleServer().URL), // "http://localhost:3100"
		iris.WithAPIKey(os.Getenv("IRIS_API_KEY")),
	)

	// Ask a question
	response, err := client.Teams.Backend.Ask(context.Background(),
		"What database indexes do we have on the users table?",
	)
	if err != nil {
		panic(err)
	}

	fmt.Println(response.Response)
	// Output: One on email, one on created_at.
}

func ExampleTeam_Ask() {
	client := iris.NewClient(iris.WithBaseURL(exampleServer().URL), iris.WithAPIKey("iris_sk_example"))

	answer, err := client.Teams.Team("backend").Ask(context.Background(),
		"And on the orders table?",
		iris.WithTimeout(5*time.Minute),
		iris.WithSession("github:acme/api#123"),
		iris.WithContext(iris.Context{Source: "github", Metadata: map[string]any{"pr": 123}}),
	)
	switch {
	case errors.Is(err, &iris.Error{Code: iris.CodeTimeout}):
		fmt.Println("still at it")
	case err != nil:
		fmt.Println(err)
	default:
		fmt.Println(answer.Response, answer.Metadata.ToolsUsed)
	}
	// Output: One on email, one on created_at. [Read Grep]
}

func ExampleTeam_Stream() {
	client := iris.NewClient(iris.WithBaseURL(exampleServer().URL), iris.WithAPIKey("iris_sk_example"))

	for event, err := range client.Teams.Backend.Stream(context.Background(), "Explain the authentication flow") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Print(event.Text)
	}
	// Output: First log in, then send the token.
}

func ExampleTeam_Execute() {
	client := iris.NewClient(iris.WithBaseURL(exampleServer().URL), iris.WithAPIKey("iris_sk_example"))
	ctx := context.Background()

	job, err := client.Teams.Frontend.Execute(ctx, "Update all deprecated React patterns", iris.WithPriority(iris.PriorityLow))
	if err != nil {
		fmt.Println(err)
		return
	}
	message, err := client.Messages.Wait(ctx, job.JobID)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(job.Status, "then", message.Status)
	// Output: queued then completed
}

func ExampleError() {
	client := iris.NewClient(iris.WithBaseURL(exampleServer().URL), iris.WithAPIKey("iris_sk_example"))

	_, err := client.Teams.Team("bakend").Ask(context.Background(), "hi")
	var refused *iris.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Code, refused.Status, refused.Message)
	}
	// Output: TEAM_NOT_FOUND 404 team "bakend" does not exist; did you mean "backend"?
}

// exampleServer answers as Iris does. It lives as long as the examples run.
func exampleServer() *httptest.Server {
	mux := http.NewServeMux()
	say := func(pattern, kind string, status int, body string) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		})
	}
	const json = "application/json"
	say("POST /api/v1/teams/backend/ask", json, 200, `{"messageId":"msg_1","team":"backend","response":"One on email, one on created_at.","duration":2847,"timestamp":1704067200000,"metadata":{"filesAccessed":["schema.sql"],"toolsUsed":["Read","Grep"]}}`)
	say("POST /api/v1/teams/bakend/ask", json, 404, `{"error":"TeamNotFound","code":"TEAM_NOT_FOUND","message":"team \"bakend\" does not exist; did you mean \"backend\"?","timestamp":1704067200000,"requestId":"r1"}`)
	say("POST /api/v1/teams/backend/stream", "text/event-stream", 200, "event:start\nid:msg_1:1\ndata:{\"messageId\":\"msg_1\",\"team\":\"backend\"}\n\n"+
		"event:chunk\nid:msg_1:2\ndata:{\"text\":\"First log in, \"}\n\nevent:chunk\nid:msg_1:3\ndata:{\"text\":\"then send the token.\"}\n\n"+
		"event:complete\nid:msg_1:4\ndata:{\"duration\":4532,\"timestamp\":1704067200000}\n\n")
	say("POST /api/v1/teams/frontend/execute", json, 202, `{"jobId":"job_1","messageId":"msg_1","team":"frontend","status":"queued","position":1,"estimatedCompletion":null}`)
	say("GET /api/v1/messages/job_1", json, 200, `{"messageId":"msg_1","jobId":"job_1","team":"frontend","status":"completed"}`)
	return httptest.NewServer(mux)
}
