// Package e2e tests Iris with the real Claude Code CLI, in each pinned version, on the
// scripted model (internal/model): what the protocol's handbook says and the recorded
// transcripts show is checked here against the thing itself.
//
// The tests want the CLIs that `make claude` fetches and carry the build tag e2e, so that
// `go test ./...` needs no set-up. `make e2e` runs them where no network can be reached.
package e2e
