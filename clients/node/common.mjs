import assert from "node:assert/strict";

export const { IRIS, IRIS_API_KEY, CONTROL } = process.env;
export const headers = { Authorization: `Bearer ${IRIS_API_KEY}` };

let kills = 0;

// slow is a message that does not end before the next kill.
export const slow = () => `[[say a b c d e]] [[until killed${kills + 1}]] [[say  f g h i j]]`;

// kill kills the server and starts it again.
export async function kill() {
  const res = await fetch(`${CONTROL}/kill`, { method: "POST" });
  assert.equal(res.status, 200);
  kills++;
}

// execute gives the backend team a task and gives its ids.
export async function execute(task) {
  const res = await fetch(`${IRIS}/api/v1/teams/backend/execute`, { method: "POST", headers, body: JSON.stringify({ task }) });
  assert.equal(res.status, 202);
  return res.json();
}

// Reader keeps what a stream shows: every event once, in order.
export class Reader {
  text = "";
  seq = 0;
  names = [];
  see(id, name, data) {
    const seq = Number(id.split(":")[1]);
    assert.equal(seq, this.seq + 1, `${name} has the number ${seq} after ${this.seq}`);
    this.seq = seq;
    this.names.push(name);
    if (name === "chunk") this.text += data.text;
    if (name === "restart") this.text = "";
  }
}

export const kinds = ["start", "chunk", "thinking", "tool_use", "tool_result", "permission", "progress", "retry", "restart", "complete"];
