// The package eventsource, which can send a header where a browser's cannot.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { execute, headers, IRIS, kill, kinds, Reader, slow } from "./common.mjs";

const version = process.argv[2];
const module = createRequire(import.meta.url)(`eventsource${version}`);
const EventSource = module.EventSource ?? module;

// connect opens a stream with the key. Since version 3 that takes a fetch of one's own.
function connect(path) {
  const url = `${IRIS}/api/v1${path}`;
  if (version === "2") return new EventSource(url, { headers });
  return new EventSource(url, { fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } }) });
}

// read follows a stream to its last event; each is called with every event.
function read(eventSource, each = () => {}) {
  const reader = new Reader();
  return new Promise((resolve, reject) => {
    for (const name of kinds) {
      eventSource.addEventListener(name, (e) => {
        try {
          reader.see(e.lastEventId, name, JSON.parse(e.data));
          each(name, reader);
        } catch (err) {
          reject(err);
        }
        if (name === "complete") resolve(reader);
      });
    }
  });
}

// The design's client, with its message in the query: an EventSource can only GET.
{
  const eventSource = connect(`/teams/backend/stream?message=${encodeURIComponent("[[say The authentication flow]]")}`);
  let text = "";
  eventSource.addEventListener("chunk", (e) => {
    const data = JSON.parse(e.data);
    text += data.text;
  });
  const duration = await new Promise((resolve) => {
    eventSource.addEventListener("complete", (e) => {
      resolve(JSON.parse(e.data).duration);
      eventSource.close();
    });
  });
  assert.equal(text, "The authentication flow");
  assert.equal(typeof duration, "number");
}

// It is not closed after the last event: it asks again, is answered 204, and stops.
{
  const before = (await (await fetch(`${IRIS}/api/v1/messages/history`, { headers })).json()).pagination.total;
  const eventSource = connect(`/teams/backend/stream?message=${encodeURIComponent("[[say left open]]")}`);
  await read(eventSource);
  while (eventSource.readyState !== 2) await new Promise((r) => setTimeout(r, 50));
  const after = (await (await fetch(`${IRIS}/api/v1/messages/history`, { headers })).json()).pagination.total;
  assert.equal(after, before + 1, "it asked again");
}

// The server is killed in the middle of a task's stream: it reconnects by itself.
{
  const { jobId } = await execute(slow());
  const eventSource = connect(`/messages/${jobId}/stream`);
  let killed = false;
  const reader = await read(eventSource, (name) => {
    if (name === "chunk" && !killed) {
      killed = true;
      kill();
    }
  });
  eventSource.close();
  assert.equal(reader.text, "a b c d e f g h i j");
}
process.exit(0);
