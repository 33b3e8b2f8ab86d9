"""httpx: ask, follow a stream, and go on after the server was killed."""

import json
import os

import httpx

IRIS, CONTROL = os.environ["IRIS"], os.environ["CONTROL"]
api = httpx.Client(
    base_url=IRIS + "/api/v1",
    headers={"Authorization": f"Bearer {os.environ['IRIS_API_KEY']}"},
    timeout=60,
)

answer = api.post("/teams/backend/ask", json={"question": "hello"}).raise_for_status().json()
assert answer["response"] == "You said: hello", answer

missing = api.post("/teams/backnd/ask", json={"question": "hello"})
assert missing.status_code == 404 and missing.json()["code"] == "TEAM_NOT_FOUND", missing.text


def events(response):
    """The events of a response, as (id, name, data)."""
    event = {}
    for line in response.iter_lines():
        name, _, value = line.partition(":")
        if line == "":
            if "event" in event:
                yield event["id"], event["event"], json.loads(event["data"])
            event = {}
        elif name:
            event[name] = value.removeprefix(" ")


with api.stream("POST", "/teams/backend/stream", json={"message": "[[say one two]]"}) as response:
    assert response.headers["content-type"] == "text/event-stream"
    names = [name for _, name, _ in events(response)]
assert names[0] == "start" and names[-1] == "complete", names

job = api.post("/teams/backend/execute", json={"task": "[[pace 100ms]] [[say a b c d e f g h i j]]"}).json()["jobId"]
text, last, numbers, killed = "", None, [], False
while True:
    try:
        headers = {"Last-Event-ID": last} if last else {}
        with api.stream("GET", f"/messages/{job}/stream", headers=headers) as response:
            for last, name, data in events(response):
                numbers.append(int(last.split(":")[1]))
                if name == "chunk":
                    text += data["text"]
                    if not killed:
                        killed = True
                        httpx.post(CONTROL + "/kill", timeout=60).raise_for_status()
                elif name == "restart":
                    text = ""
    except httpx.TransportError:
        continue
    if name in ("complete", "error"):
        break
assert name == "complete" and text == "a b c d e f g h i j", (name, text)
assert numbers == list(range(1, len(numbers) + 1)), numbers
