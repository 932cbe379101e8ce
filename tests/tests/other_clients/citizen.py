"""A citizen that speaks to the kingdom with nats-py: requests, a queued command, public events, all in plain JSON.

Prints one JSON object per line: {"what": "answer" | "event", ...}. Ends when the app has settled with three instances.
"""

import asyncio
import json
import sys

import nats


def say(what, **more):
    print(json.dumps({"what": what, **more}), flush=True)


async def request(client, kind, body, headers=None):
    answer = await client.request(f"king.cmd.{kind}", json.dumps(body).encode(), timeout=10, headers=headers)
    say("answer", body=json.loads(answer.data))


async def main():
    client = await nats.connect(sys.argv[1])
    settled = asyncio.Queue()

    async def hear(message):
        headers = message.headers or {}
        say("event", subject=message.subject, id=headers.get("ce-id"), type=headers.get("ce-type"))
        if message.subject.endswith(".app.metal.settled"):
            settled.put_nowait(None)

    await client.subscribe("king.event.>", cb=hear)
    deploy = {"app": "metal", "version": "1.0.0", "count": 2}
    await request(client, "app.deploy", deploy, {"Nats-Msg-Id": "from-python-1"})
    await request(client, "app.deploy", deploy, {"Nats-Msg-Id": "from-python-1"})
    await asyncio.wait_for(settled.get(), 60)
    await request(client, "app.deploy", {"app": "metal", "version": "9.9.9"})
    stored = await client.jetstream().publish("king.queue.app.scale", json.dumps({"app": "metal", "count": 3}).encode())
    assert stored.stream == "KING_INBOX", stored
    await asyncio.wait_for(settled.get(), 60)
    await client.drain()


asyncio.run(main())
