// ws: the design's client, many messages on one connection, and resuming after a crash.
import assert from "node:assert/strict";
import WebSocket from "ws";
import { headers, IRIS, IRIS_API_KEY, kill, execute, slow } from "./common.mjs";

const url = IRIS.replace("http", "ws") + "/api/v1/stream";
const apiKey = IRIS_API_KEY;

// The design's client, as printed but for the address and the end.
{
  const ws = new WebSocket(url, {
    headers: { 'Authorization': `Bearer ${apiKey}` }
  });
  let text = "";
  await new Promise((done, failed) => {
    ws.on('open', () => {
      // Subscribe to team
      ws.send(JSON.stringify({
        type: 'subscribe',
        team: 'backend'
      }));

      // Send message
      ws.send(JSON.stringify({
        type: 'message',
        team: 'backend',
        message: 'What database indexes do we have?'
      }));
    });

    ws.on('message', (data) => {
      const event = JSON.parse(data);

      switch(event.type) {
        case 'chunk':
          text += event.text;
          break;
        case 'complete':
          done();
          break;
        case 'error':
          failed(new Error(event.error));
          break;
      }
    });
  });
  assert.equal(text, "You said: What database indexes do we have?");
  ws.close();
}

// connect opens a connection whose frames are kept, with what waits for one of them.
async function connect(protocols, options) {
  const ws = new WebSocket(url, protocols, options);
  const frames = [];
  let wake = () => {};
  let closed = null;
  ws.on("message", (data) => { frames.push(JSON.parse(data)); wake(); });
  ws.on("close", (code) => { closed = code; wake(); });
  ws.on("error", () => {});
  await new Promise((resolve, reject) => { ws.on("open", resolve); ws.on("close", () => reject(new Error("refused"))); });
  return {
    ws, frames,
    send: (frame) => ws.send(JSON.stringify(frame)),
    async until(fits) {
      for (;;) {
        const found = frames.find(fits);
        if (found) return found;
        if (closed !== null) throw new Error(`closed with ${closed}, got ${JSON.stringify(frames)}`);
        await new Promise((resolve) => { wake = resolve; });
      }
    },
    async closed() {
      while (closed === null) await new Promise((resolve) => { wake = resolve; });
      return closed;
    },
  };
}

// A browser's way to show the key; many messages in flight; a bad frame; a cancel.
{
  const c = await connect(["iris.v1", `iris.key.${apiKey}`]);
  assert.equal(c.ws.protocol, "iris.v1");
  for (let i = 0; i < 8; i++) c.send({ type: "message", team: "backend", message: `[[say answer ${i}]]`, ref: `r${i}` });
  for (let i = 0; i < 8; i++) {
    const start = await c.until((f) => f.type === "start" && f.ref === `r${i}`);
    const complete = await c.until((f) => f.type === "complete" && f.messageId === start.messageId);
    assert.equal(complete.response, `answer ${i}`);
  }
  c.send({ type: "nonsense" });
  assert.equal((await c.until((f) => f.type === "error")).code, "INVALID_REQUEST");
  c.send({ type: "message", team: "backend", message: "[[hang]]", ref: "long" });
  const { messageId } = await c.until((f) => f.type === "start" && f.ref === "long");
  c.send({ type: "cancel", messageId });
  assert.equal((await c.until((f) => f.type === "error" && f.messageId === messageId)).code, "CANCELLED");
  c.send({ type: "ping" });
  await c.until((f) => f.type === "pong");
  c.ws.close();
  assert.equal(await c.closed(), 1005);
}

// Killed in the middle: resume behind the last number that was seen.
{
  const { messageId } = await execute(slow());
  let c = await connect([], { headers });
  c.send({ type: "resume", messageId, after: 0 });
  await c.until((f) => f.type === "chunk");
  await kill();
  assert.equal(await c.closed(), 1006);
  const seen = c.frames.filter((f) => f.messageId === messageId);
  c = await connect([], { headers });
  c.send({ type: "resume", messageId, after: seen.at(-1).seq });
  await c.until((f) => f.type === "complete");
  seen.push(...c.frames.filter((f) => f.messageId === messageId));
  assert.deepEqual(seen.map((f) => f.seq), seen.map((_, i) => i + 1));
  let text = "";
  for (const f of seen) {
    if (f.type === "restart") text = "";
    if (f.type === "chunk") text += f.text;
  }
  assert.equal(text, "a b c d e f g h i j");
  c.ws.close();
}

// Without a good key there is no connection.
await assert.rejects(connect([], { headers: { Authorization: "Bearer iris_sk_wrong" } }));
process.exit(0);
