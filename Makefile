# make demo   asks a real Claude Code team over HTTP and over MCP, on a scripted model
# make test   sets up and passes every test
# make attack sends the built binary what its worst neighbours would
# make contract walks the contract of the HTTP side on the built binary
# make check  what a change must pass before it is committed
# make chaos  kills everything at random, ten times as long as make test does
# make soak   kills teams' processes for an hour (SOAK=1h)
# make bench  measures Iris beside the bare CLI, and its record and queue
export GOTOOLCHAIN := local
SHELL := /bin/bash

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
MODULES := . sdk/go

.PHONY: build demo test check lint fmt vet unit contract attack e2e clients storm chaos soak claude bench clean

# The tag leaves out gin's msgpack, which nothing here speaks: 9 MB of the program, 2 of its memory.
build:
	go build -trimpath -tags nomsgpack -ldflags "-X main.version=$(VERSION)" -o bin/iris-mcp ./cmd/iris-mcp

# The person's own claude, else the pinned one, fetched into .cache.
demo: build
	@claude=$$(command -v claude || scripts/fetch-claude.sh default) && bin/iris-mcp demo --claude "$$claude"

# The pinned versions of the CLI, fetched once into .cache.
claude:
	@scripts/fetch-claude.sh

test: lint unit contract attack e2e clients storm

check: lint unit
	scripts/vulncheck.sh

lint: fmt vet
	go tool staticcheck -tags e2e,contract,attack,clients,chaos ./...
	cd sdk/go && go tool -modfile=../../go.mod staticcheck ./...

fmt:
	@wrong=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$wrong" ] || { echo "gofmt would change: $$wrong"; exit 1; }

vet:
	@for m in $(MODULES); do (cd $$m && go vet ./...) || exit 1; done
	go vet -tags e2e ./e2e/...
	go vet -tags contract ./contract/...
	go vet -tags attack ./attack/...
	go vet -tags clients ./clients/...
	go vet -tags chaos ./chaos/...

unit:
	@for m in $(MODULES); do (cd $$m && go test -race -timeout 10m ./...) || exit 1; done

# Most of it waits for something: more tests at once than processors.
contract:
	scripts/no-network.sh go test -count=1 -tags contract -parallel 8 -timeout 5m ./contract/...

# Half of it waits for time limits to pass.
attack:
	scripts/no-network.sh go test -count=1 -tags attack -timeout 5m ./attack/...

e2e: claude build
	scripts/no-network.sh go test -race -count=1 -tags e2e -timeout 15m ./e2e/...

# Programs in other languages, against what Iris serves and sends.
clients:
	scripts/clients.sh
	scripts/no-network.sh go test -count=1 -tags clients -parallel 4 -timeout 5m ./clients/...

# What make test runs of the chaos: a minute or two.
storm: claude
	go test -count=1 -tags chaos -timeout 10m ./chaos/...

chaos: claude
	IRIS_CHAOS=10 go test -count=1 -tags chaos -timeout 2h -v ./chaos/...

SOAK ?= 1h
soak:
	IRIS_SOAK=$(SOAK) go test -count=1 -tags chaos -timeout 0 -v -run TestTeamProcessesAreKilled ./chaos/...

bench: claude build
	go run ./bench
	go run ./bench -record

clean:
	rm -rf bin .cache
