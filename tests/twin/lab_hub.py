"""In the place of the hub, where only data matters: it makes logs, gives orders, passes commits on, and trims logs.

Owns when it does so. What it says and what it trims is decided by the hub's own functions; objects, their store and
their API are left out.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import CommittedReport, StreamOrder
from atoll.federation.bus.log import LogTrimmer
from atoll.federation.bus.messages import Message
from atoll.federation.bus.subjects import (
    DESIRED_PREFIX,
    DESIRED_STREAM,
    OBSERVED_PREFIX,
    OBSERVED_STREAM,
    desired_prefix,
    lab_prefix,
    lab_stream,
    observed_prefix,
    uplink_prefix,
)
from atoll.federation.bus.table import Change
from atoll.federation.errors import AtollError
from atoll.federation.resources import Gateway, Stream
from atoll.hub.controllers.gateways import believable, plan_order
from atoll.hub.controllers.lab_logs import is_filled, plan_trims
from twin.lab_story import LabStory

CLUSTER, NAMESPACE = "north", "lab"
_LOOK_SECONDS, _RETRY_SECONDS = 2.0, 1.0


def stream_name(gateway: str) -> str:
    return f"readings-{gateway}"


def _stream(story: LabStory, gateway: str) -> Stream:
    spec = {
        "gateway": gateway,
        "topics": [f"{gateway}/+/+/data"],
        "dataset": "run.{topic[1]}" if story.are_datasets_shared else f"{gateway}.{{topic[1]}}",
        "home": CLUSTER,
        "endOfRun": {"topic": f"{gateway}/+/end"},
        **story.shapes[gateway].spec,
    }
    return Stream.model_validate({"metadata": {"name": stream_name(gateway), "namespace": NAMESPACE}, "spec": spec})


def _gateway(story: LabStory, name: str) -> Gateway:
    mqtt = {"receiveMaximum": story.shapes[name].receive_maximum, "version": "5"}
    return Gateway.model_validate({"metadata": {"name": name}, "spec": {"mqtt": mqtt}})


class LabHub:
    """One life of it: it knows what NATS holds, and nothing else."""

    def __init__(self, bus: Bus, story: LabStory) -> None:
        self._bus, self._log_bytes = bus, story.log_bytes
        self._gateways = {name: _gateway(story, name) for name in story.shapes}
        self._streams = [_stream(story, name) for name in story.shapes]

    async def run(self) -> None:
        """Serve all gateways until the end."""
        await self._insist(lambda: self._bus.ensure_table(DESIRED_STREAM, DESIRED_PREFIX))
        await self._insist(lambda: self._bus.ensure_table(OBSERVED_STREAM, OBSERVED_PREFIX))
        async with asyncio.TaskGroup() as tasks:
            for name in self._gateways:
                tasks.create_task(self._give_orders(name))
                tasks.create_task(self._pass_on_commits(name))

    async def _give_orders(self, gateway: str) -> None:
        """Keep a log for a gateway, and tell the sink which one it is."""
        told = ""
        while True:
            try:
                created = await self._log_of(gateway)
                if created != told:
                    await self._order(gateway, created)
                    told = created
            except AtollError:
                pass  # asked again soon
            await asyncio.sleep(_LOOK_SECONDS)

    async def _log_of(self, gateway: str) -> str:
        stream, prefix = lab_stream(gateway), lab_prefix(gateway)
        await self._bus.ensure_log(stream, prefix, max_bytes=self._log_bytes, taken_in=uplink_prefix(gateway))
        return (await LogTrimmer(self._bus, stream).extent()).created

    async def _order(self, gateway: str, log_created: str) -> None:
        await self._put("gateway", gateway, "streams", plan_order(self._gateways[gateway], self._streams))
        for stream in self._streams:
            if stream.spec.gateway == gateway:
                name = stream.metadata.name
                order = StreamOrder(namespace=NAMESPACE, name=name, spec=stream.spec, log_created=log_created)
                await self._put("cluster", CLUSTER, f"stream/{NAMESPACE}/{name}", order)

    async def _put(self, kind: str, member: str, key: str, message: Message) -> None:
        await self._bus.own_table(DESIRED_STREAM, desired_prefix(kind, member)).put(key, message.encode())  # type: ignore[arg-type]

    async def _pass_on_commits(self, gateway: str) -> None:
        reports = self._bus.own_table(OBSERVED_STREAM, observed_prefix("gateway", gateway))
        async for item in reports.follow("committed"):
            if isinstance(item, Change) and item.value is not None:
                told = believable(CommittedReport.decode(item.value), gateway, self._streams)
                await self._insist(partial(self._put, "gateway", gateway, item.key, told))
                await self._insist(partial(self._trim, gateway, told))

    async def _trim(self, gateway: str, report: CommittedReport) -> None:
        trimmer = LogTrimmer(self._bus, lab_stream(gateway))
        extent = await trimmer.extent()
        if is_filled(extent):
            for subject, through in plan_trims(gateway, extent, self._streams, [report]).items():
                await trimmer.drop(subject, through=through)

    async def _insist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something as often as it takes: there is nobody else who would."""
        while True:
            try:
                return await work()
            except AtollError:
                await asyncio.sleep(_RETRY_SECONDS)
