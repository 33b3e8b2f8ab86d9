// axios, as the design's Slack bot uses it.
import assert from "node:assert/strict";
import axios from "axios";
import { IRIS, IRIS_API_KEY } from "./common.mjs";

const irisApi = axios.create({
  baseURL: `${IRIS}/api/v1`,
  headers: { Authorization: `Bearer ${IRIS_API_KEY}` },
});

const question = "What database indexes do we have?";
const response = await irisApi.post("/teams/backend/ask", { question });
assert.equal(response.data.response, `You said: ${question}`);
assert.equal(response.headers["x-request-id"].length > 0, true);

const { status, data: job, headers } = await irisApi.post("/teams/backend/execute", { task: "[[say done]]" });
assert.equal(status, 202);
assert.equal(headers.location, `/api/v1/messages/${job.jobId}`);
const done = await irisApi.get(`/messages/${job.jobId}`, { params: { wait: 30000 } });
assert.equal(done.data.result.summary, "done");

const history = await irisApi.get("/messages/history", { params: { team: "backend", limit: 1 } });
assert.equal(history.data.pagination.total, 2);

await assert.rejects(irisApi.post("/teams/backend/ask", { question: "[[hang]]", timeout: 100, cancelOnTimeout: true }), (err) => {
  assert.equal(err.response.status, 408);
  assert.equal(err.response.data.code, "TIMEOUT");
  return true;
});
await assert.rejects(irisApi.get("/teams", { headers: { Authorization: "Bearer iris_sk_wrong" } }), (err) => err.response.data.code === "UNAUTHORIZED");

// A form and a request that is aborted.
const form = await irisApi.post("/teams/backend/ask", JSON.stringify({ question: "a form" }), { headers: { "Content-Type": "application/x-www-form-urlencoded" } });
assert.equal(form.data.response, "You said: a form");
const abort = new AbortController();
setTimeout(() => abort.abort(), 100);
await assert.rejects(irisApi.post("/teams/backend/ask", { question: "[[hang]]" }, { signal: abort.signal }), axios.CanceledError);

// A stream, read as it comes.
const stream = await irisApi.post("/teams/backend/stream", { message: "[[say one two three]]" }, { responseType: "stream" });
let text = "";
for await (const piece of stream.data) text += piece;
assert.equal(text.match(/^event: complete$/gm).length, 1);
