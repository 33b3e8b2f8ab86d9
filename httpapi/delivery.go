package httpapi

import (
	"context"
	"net/url"

	iris "github.com/iris-mcp/iris-mcp"
)

// deliveryView is how far the telling of a task's end has come. The callback's headers are in
// no answer.
type deliveryView struct {
	URL         string             `json:"url" doc:"Where it goes; whole only for who gave it" example:"https://api.example.com/webhooks/iris"`
	Method      string             `json:"method" doc:"How it is called" example:"POST"`
	State       iris.DeliveryState `json:"state" enum:"pending,delivered,failed,gone" doc:"gone: the receiver answered 410"`
	Attempts    []attemptView      `json:"attempts" doc:"The newest 20, the oldest of them first"`
	NextAttempt *int64             `json:"nextAttempt,omitempty" doc:"Unix milliseconds" example:"1704067820000"`
}

type attemptView struct {
	Timestamp int64  `json:"timestamp" doc:"When it began, Unix milliseconds" example:"1704067515234"`
	Duration  int64  `json:"duration" doc:"Milliseconds" example:"40"`
	Status    int    `json:"status,omitempty" doc:"Of the receiver's answer, if it gave one" example:"500"`
	Error     string `json:"error,omitempty" doc:"Why it failed" example:"the receiver answered 500"`
}

// deliveryOf shows a delivery. Its address may be as good as a password, so that others than
// who gave it see only whose it is.
func deliveryOf(d iris.Delivery, whole bool) deliveryView {
	v := deliveryView{URL: d.URL, Method: d.Method, State: d.State, Attempts: []attemptView{}, NextAttempt: unixMilli(d.NextAt)}
	if u, err := url.Parse(d.URL); !whole && err == nil {
		v.URL = u.Scheme + "://" + u.Host + "/…"
	}
	for _, a := range d.Attempts {
		v.Attempts = append(v.Attempts, attemptView{
			Timestamp: a.At.UnixMilli(), Duration: a.Took.Milliseconds(), Status: a.Status, Error: a.Problem,
		})
	}
	return v
}

// resend has the message's callback called again, whatever became of it before.
func (s *Server) resend(ctx context.Context, req *request, in *cancelIn) (*messageOut, error) {
	m, err := s.message(ctx, req, in.ID)
	if err != nil {
		return nil, err
	}
	if err := s.store.Resend(ctx, m.ID); err != nil {
		return nil, err
	}
	return s.view(ctx, req, m)
}
