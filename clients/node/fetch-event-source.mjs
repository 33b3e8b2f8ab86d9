// @microsoft/fetch-event-source, which can POST. It is made for browsers: Node lacks the two
// things of a page that it looks at.
import assert from "node:assert/strict";
import { execute, headers, IRIS, kill, Reader, slow } from "./common.mjs";

globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
const { fetchEventSource } = await import("@microsoft/fetch-event-source");

async function read(path, init, each = () => {}) {
  const reader = new Reader();
  let last = null;
  await fetchEventSource(`${IRIS}/api/v1${path}`, {
    ...init,
    headers: { ...headers, ...init.headers },
    openWhenHidden: true,
    onmessage(e) {
      if (!e.event) return; // a comment
      const data = JSON.parse(e.data);
      reader.see(e.id, e.event, data);
      each(e.event, reader);
      if (e.event === "complete" || e.event === "error") last = { name: e.event, data };
    },
    onclose() {
      if (!last) throw new Error("the stream was cut"); // so that it tries again
    },
    onerror: () => 100, // milliseconds to the next try
  });
  return { reader, last };
}

const post = (message) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ message }) });

{
  const { reader, last } = await read("/teams/backend/stream", post("[[say one]] [[tool Read {\"file_path\":\"a.go\"}]] [[say two]]"));
  assert.equal(last.name, "complete");
  assert.deepEqual(last.data.metadata.filesAccessed, ["a.go"]);
  assert.equal(reader.names.includes("tool_use"), true);
}

// Killed in the middle: it POSTs again with the last id, which asks nothing anew. A question
// that was being answered has failed, and its stream says so.
{
  let killed = null;
  const { reader, last } = await read("/teams/backend/stream", post(slow()), (name) => {
    if (name === "chunk") killed ??= kill();
  });
  await killed;
  assert.equal(last.name, "error");
  assert.equal(last.data.code, "PROCESS_ERROR");
  assert.equal(reader.names.filter((n) => n === "start").length, 1);
}

// A task runs again, and its stream goes on to the end.
{
  const { jobId } = await execute(slow());
  let killed = null;
  const { reader, last } = await read(`/messages/${jobId}/stream`, {}, (name) => {
    if (name === "chunk") killed ??= kill();
  });
  await killed;
  assert.equal(last.name, "complete");
  assert.equal(reader.text, "a b c d e f g h i j");
}
process.exit(0);
