package iris

// News is what who watches a team is told of one of its messages: that it waits (Status
// queued), and once more when it waits no longer; then, and at the beginning also of one that
// already runs, its events are there to be followed from behind After.
type News struct {
	Message Message // without its texts and what it came to
	After   int64   // number of an event; 0 while the message waits
}
