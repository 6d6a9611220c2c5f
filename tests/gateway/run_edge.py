"""Run one edge process: `main("gateway|sink|mover", "<settings as JSON>")`. Stands in for the command line.

The setting `planted` names a bug of tests/exactly_once/bugs.py.
"""

import asyncio
import contextlib
import importlib
import json
import signal
from pathlib import Path

import structlog

from atoll.edge.enrolment import EnrolmentSettings
from atoll.edge.gateway.file_source.roots import Roots
from atoll.edge.gateway.mqtt.settings import BrokerSettings
from atoll.federation.bus.membership import Membership

PATHS = {"root", "state_dir"}
SETTINGS = {"gateway": "GatewaySettings", "sink": "SinkSettings", "mover": "MoverSettings"}


def main(room: str, text: str) -> None:
    """Run until SIGTERM or SIGINT."""
    structlog.configure(processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()])
    asyncio.run(serve(room, text))


async def serve(room: str, text: str) -> None:
    values = {key: Path(value) if key in PATHS else value for key, value in json.loads(text).items()}
    if planted := values.pop("planted", ""):
        importlib.import_module("exactly_once.bugs").plant(planted)
    url = values.pop("nats_url")
    if room == "gateway":
        broker = values.pop("broker", None)
        values["files"] = Roots.parse(values.pop("files", ()))
        values["broker"] = BrokerSettings(broker, receiver=values.pop("receiver", "paho"))
    values |= {"enrolment": EnrolmentSettings(url)} if room == "gateway" else {"membership": Membership(url)}
    settings = getattr(importlib.import_module(f"atoll.edge.{room}.settings"), SETTINGS[room])(**values)
    task = asyncio.ensure_future(importlib.import_module(f"atoll.edge.{room}.main").run(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
