// Checks a webhook with the library of Standard Webhooks: stdin has secret, headers and body.
import { readFileSync } from "node:fs";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const given = JSON.parse(readFileSync(0, "utf8"));
try {
  console.log(new Webhook(given.secret).verify(given.body, given.headers).status);
} catch (err) {
  if (!(err instanceof WebhookVerificationError)) throw err;
  console.log("refused");
}
