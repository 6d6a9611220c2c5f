"""One stream serves more followers than nats-server's own default of 1000 consumers (2.15, default_max_consumers)."""

import asyncio
from pathlib import Path

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.nats_keys import FIELD
from atoll.federation.bus.subjects import DESIRED_PREFIX, DESIRED_STREAM, desired_prefix
from atoll.hub.field.keys import Signer
from secured_nats import launch_secured

_MEMBERS = 1200
_SECOND = 1_000_000_000


async def test_more_than_a_thousand_members_follow_their_orders(tmp_path: Path) -> None:
    server, keys = launch_secured(tmp_path / "nats")
    bus = await Bus.connect(server.url, name="test", login=Signer.load(keys, None).login(FIELD))
    try:
        await bus.ensure_table(DESIRED_STREAM, DESIRED_PREFIX)
        gate = asyncio.Semaphore(64)

        async def follow(member: int) -> None:
            """Make the consumer that a member's follow makes."""
            subjects, name = f"{desired_prefix('cluster', f'c-{member}')}.>", f"f{member}"
            config = {
                "name": name,
                "filter_subject": subjects,
                "deliver_subject": bus.new_inbox(),
                "ack_policy": "none",
                "deliver_policy": "last_per_subject",
                "inactive_threshold": 60 * _SECOND,
                "mem_storage": True,
                "num_replicas": 1,
            }
            verb = f"CONSUMER.CREATE.{DESIRED_STREAM}.{name}.{subjects}"
            async with gate:
                await bus.api(verb, {"stream_name": DESIRED_STREAM, "config": config, "action": "create"})

        await asyncio.gather(*map(follow, range(_MEMBERS)))
        info = await bus.api(f"STREAM.INFO.{DESIRED_STREAM}")
        assert info["state"]["consumer_count"] == _MEMBERS
    finally:
        await bus.close()
        server.kill9()
