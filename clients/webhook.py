# Checks a webhook with the library of Standard Webhooks: stdin has secret, headers and body.
import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

given = json.load(sys.stdin)
try:
    task = Webhook(given["secret"]).verify(given["body"], given["headers"])
    print(task["status"])
except WebhookVerificationError:
    print("refused")
