"""websockets: ask, follow, and go on after the server was killed."""

import asyncio
import json
import os
import urllib.request

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

IRIS, CONTROL, KEY = os.environ["IRIS"], os.environ["CONTROL"], os.environ["IRIS_API_KEY"]
URL = IRIS.replace("http", "ws", 1) + "/api/v1/stream"
HEADERS = {"Authorization": f"Bearer {KEY}"}


def execute(task):
    request = urllib.request.Request(
        IRIS + "/api/v1/teams/backend/execute", json.dumps({"task": task}).encode(), HEADERS
    )
    return json.load(urllib.request.urlopen(request))["messageId"]


def kill():
    urllib.request.urlopen(urllib.request.Request(CONTROL + "/kill", method="POST")).read()


async def ask():
    async with connect(URL, additional_headers=HEADERS) as ws:
        await ws.send(json.dumps({"type": "message", "team": "backend", "message": "hello", "ref": "mine"}))
        text = ""
        async for raw in ws:
            frame = json.loads(raw)
            if frame["type"] == "chunk":
                text += frame["text"]
            elif frame["type"] in ("complete", "error"):
                break
        assert frame["type"] == "complete" and frame["response"] == text == "You said: hello", frame


async def as_a_browser():
    async with connect(URL, subprotocols=["iris.v1", f"iris.key.{KEY}"]) as ws:
        assert ws.subprotocol == "iris.v1"
        await ws.send(json.dumps({"type": "subscribe", "team": "backend"}))
        assert json.loads(await ws.recv()) == {"type": "subscribed", "team": "backend"}


async def resume():
    message = execute("[[pace 100ms]] [[say a b c d e f g h i j]]")
    seen, text, killed = 0, "", False
    while True:
        try:
            async with connect(URL, additional_headers=HEADERS) as ws:
                await ws.send(json.dumps({"type": "resume", "messageId": message, "after": seen}))
                async for raw in ws:
                    frame = json.loads(raw)
                    assert frame["seq"] == seen + 1, frame
                    seen = frame["seq"]
                    if frame["type"] == "restart":
                        text = ""
                    elif frame["type"] == "chunk":
                        text += frame["text"]
                        if not killed:
                            killed = True
                            await asyncio.to_thread(kill)
                    elif frame["type"] in ("complete", "error"):
                        assert frame["type"] == "complete" and text == "a b c d e f g h i j", (frame, text)
                        return
        except (ConnectionClosed, OSError):
            continue


async def refused():
    try:
        async with connect(URL, additional_headers={"Authorization": "Bearer iris_sk_wrong"}):
            raise AssertionError("a bad key was let in")
    except InvalidStatus as err:
        assert err.response.status_code == 401, err.response


async def main():
    await ask()
    await as_a_browser()
    await resume()
    await refused()


asyncio.run(asyncio.wait_for(main(), 80))
