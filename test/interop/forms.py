"""The official Python SDK signs for a client whose socket id comes on standard input.

Prints one JSON line.
"""

import json
import sys

import pusher

client = pusher.Pusher(app_id="4711", key="app-key", secret="app-secret", host="127.0.0.1", port=1, ssl=False)
socket = json.loads(sys.stdin.readline())["socket"]
data = {"user_id": "1", "user_info": {"name": "née/x"}}
print(json.dumps({
    "channels": {
        "private-x": client.authenticate("private-x", socket),
        "private-data": client.authenticate("private-data", socket, data),
        "presence-x": client.authenticate("presence-x", socket, data),
    },
    "user": client.authenticate_user(socket, {"id": "user@example.com", "name": "née"}),
}), flush=True)
