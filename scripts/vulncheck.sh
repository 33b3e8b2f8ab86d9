#!/usr/bin/env bash
# Looks for known vulnerabilities in what Iris uses. The list comes from the network; without
# it nothing can be said, and this says so instead of passing in silence.
set -uo pipefail
out=$(go tool govulncheck ./... 2>&1)
code=$?
echo "$out"
if [ $code -ne 0 ] && grep -qE 'fetching vulnerabilities|no such host|dial tcp' <<<"$out"; then
	echo "govulncheck: NOT CHECKED, the list of vulnerabilities cannot be reached from here" >&2
	exit 0
fi
exit $code
