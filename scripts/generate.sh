#!/bin/sh
# Rewrites the documents that are made from the code: docs/openapi.json.
set -eu
cd "$(dirname "$0")/.."
out=$(go test ./httpapi -count=1 -run '^TestOpenAPI$' -update 2>&1) || { echo "$out" >&2; exit 1; }
