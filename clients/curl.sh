# What people do with curl. $IRIS is the server, $CONTROL/kill kills it and starts it again.
set -euo pipefail
auth=(-H "Authorization: Bearer $IRIS_API_KEY")
fail() { echo "$*" >&2; exit 1; }

# Ask: the form type that curl sends by itself is fine.
answer=$(curl -sS --fail-with-body -X POST "$IRIS/api/v1/teams/backend/ask" "${auth[@]}" -d '{"question": "[[say hello]]"}')
[ "$(jq -r .response <<<"$answer")" = hello ] || fail "ask: $answer"

# -f makes an error of an error.
! curl -sSf -o /dev/null -X POST "$IRIS/api/v1/teams/backnd/ask" "${auth[@]}" -d '{"question": "q"}' 2>/dev/null || fail "404 is no failure"

# Stream: -N shows each event as it comes.
events=$(curl -sSN -X POST "$IRIS/api/v1/teams/backend/stream" "${auth[@]}" -d '{"message": "[[say one two]]"}')
[ "$(grep -c '^event: complete$' <<<"$events")" = 1 ] || fail "stream: $events"

# The server is killed in the middle of a task's stream; Last-Event-ID goes on behind it.
job=$(curl -sS "$IRIS/api/v1/teams/backend/execute" "${auth[@]}" -d '{"task": "[[say a b c d e]] [[until killed1]] [[say  f g h i j]]"}' | jq -r .jobId)
out=$(mktemp)
curl -sSN "$IRIS/api/v1/messages/$job/stream" "${auth[@]}" >"$out" 2>/dev/null &
reader=$!
until grep -q '^event: chunk' "$out"; do sleep 0.02; done
curl -sS -X POST "$CONTROL/kill"
! wait "$reader" || fail "curl ended well although the server was killed"
last=$(grep '^id: ' "$out" | tail -n 1 | cut -c 5-)
curl -sSN "$IRIS/api/v1/messages/$job/stream" "${auth[@]}" -H "Last-Event-ID: $last" >>"$out"
ids=$(grep '^id: ' "$out" | sed 's/.*://' | tr '\n' ' ')
[ "$ids" = "$(seq -s ' ' "$(wc -w <<<"$ids")") " ] || fail "the numbers have gaps: $ids"
tail -n 4 "$out" | grep -q '^event: complete$' || fail "the stream has no end: $(cat "$out")"

# --retry waits for a server that comes back.
answer=$(curl -sS --retry 5 --retry-connrefused "$IRIS/api/v1/messages/$job?wait=60000" "${auth[@]}")
[ "$(jq -r .status <<<"$answer")" = completed ] || fail "message: $answer"
