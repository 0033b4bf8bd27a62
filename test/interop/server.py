"""The official Python server SDK: publishes, queries, and validates a webhook.

Arguments: host port. A webhook comes on standard input as a JSON object of key,
signature and body. Prints what it got, one JSON line each.
"""

import json
import sys

import pusher

host, port = sys.argv[1], int(sys.argv[2])
client = pusher.Pusher(app_id="4711", key="app-key", secret="app-secret", host=host, port=port, ssl=False)


def show(value):
    print(json.dumps(value, sort_keys=True), flush=True)


show({"trigger": client.trigger(["sdk-a", "sdk-b"], "event", {"text": "é"})})
show({"batch": client.trigger_batch([{"channel": "sdk-a", "name": "event", "data": "2"}])})
show({"channels": sorted(client.channels_info("presence-", ["user_count"])["channels"])})
show({"channel": client.channel_info("presence-sdk", ["user_count", "subscription_count"])})
show({"users": client.users_info("presence-sdk")["users"]})
show({"terminate": client.terminate_user_connections("nobody")})
hook = json.loads(sys.stdin.readline())
show({"webhook": client.validate_webhook(hook["key"], hook["signature"], hook["body"]) is not None})
show({"forged": client.validate_webhook(hook["key"], "0" * 64, hook["body"]) is not None})
