// Package iris is the vocabulary of Iris and the rules that belong to the words alone: who
// may ask whom, what a message and its events are, which failure has which code. Every part
// of Iris speaks in these types and none of them imports another part; cmd/iris-mcp fits
// them together. The package needs nothing but the standard library.
//
// A caller asks a team: that is a message. A job is its place in the queue, a turn one run of
// it in a session, a session one conversation that a process holds. Events tell, numbered and
// without gaps, what happened to the message, up to exactly one last event.
package iris
