#!/bin/sh
# Rewrites the documents that are made from the code: docs/openapi.json and
# docs/iris-config.schema.json.
set -eu
cd "$(dirname "$0")/.."
out=$(go test ./httpapi -count=1 -run '^TestOpenAPI$' -update 2>&1) || { echo "$out" >&2; exit 1; }
out=$(go test ./internal/config -count=1 -run '^TestTheSchemaIsTrue$' -update 2>&1) || { echo "$out" >&2; exit 1; }
