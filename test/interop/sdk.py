"""The Python client of Sockudo, driven by the test: prints a JSON line per event.

Arguments: host port key protocol channel... On standard input, `cut` breaks the
connection, which the client then restores by itself, and `end` asks for statistics.
"""
import asyncio
import functools
import json
import sys

from sockudo_python import client as sdk


# As released, up to 2.2.0 at least, the client leaves out a required member of the
# event that it has just rebuilt from a delta, and so loses every one of them. With
# the member supplied, everything else is as it is.
sdk.SockudoEvent.__init__ = functools.partialmethod(sdk.SockudoEvent.__init__, stream_id=None)


def say(**line):
    print(json.dumps(line), flush=True)


async def main():
    host, port, key, protocol, *channels = sys.argv[1:]
    errors = []
    options = sdk.SockudoOptions(
        cluster="local", protocol_version=int(protocol), force_tls=False, ws_host=host, ws_port=int(port),
        enabled_transports=[sdk.SockudoTransport.WS], max_reconnect_attempts=None,
        delta_compression=sdk.DeltaOptions(enabled=True, on_error=lambda e: errors.append(repr(e))),
    )
    client = sdk.SockudoClient(key, options)

    sent = []
    send_event = client.send_event

    async def watched(name, data, channel):
        sent.append(name)
        return await send_event(name, data, channel)

    client.send_event = watched
    client._delta_manager._send_event = watched

    waiting = set(channels)
    for name in channels:
        # Asked for by the subscription, because the client does not enable deltas
        # for the whole connection again after it was lost.
        settings = sdk.SubscriptionOptions(delta=sdk.ChannelDeltaSettings(enabled=True))
        channel = client.subscribe(name, settings)

        def on(event, data, name=name):
            if event.endswith("subscription_succeeded"):
                waiting.discard(name)
                if not waiting:
                    say(ready=True)
            elif ":" not in event:
                say(event=event, channel=name, data=data)

        channel.bind_global(on)
    await client.connect()

    lines = asyncio.Queue()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, lambda: lines.put_nowait(sys.stdin.readline().strip()))
    while True:
        line = await lines.get()
        if line == "cut":
            waiting.update(channels)
            client.socket.transport.abort()
        else:
            break
    stats = client.get_delta_stats()
    say(stats={"deltas": stats.delta_messages, "errors": errors,
               "resyncs": sum(name.endswith("delta_sync_error") for name in sent)})
    await client.disconnect()


asyncio.run(main())
