"""One process of a campaign: `main(ROLE, SETTINGS as JSON)`, ended by SIGTERM and safe to kill.

Stands in for the command line. Three settings are a campaign's own: `network`, the namespace that it lives in,
`clock`, a file by which its time is wrong, and `planted`, the name of a bug in `bugs.py`.
"""

import asyncio
import contextlib
import ctypes
import importlib
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from atoll.edge.enrolment import EnrolmentSettings
from atoll.edge.gateway import main as gateway_main
from atoll.edge.gateway.mqtt.settings import BrokerSettings
from atoll.edge.gateway.settings import GatewaySettings
from atoll.edge.member import main as member_main
from atoll.edge.member.settings import MemberSettings
from atoll.federation.bus.nats_keys import Keys
from atoll.federation.bus.routes import Routes
from atoll.hub import main as hub_main
from atoll.hub.field.keys import Signer
from atoll.hub.settings import NatsFiles
from atoll.sandbox import main as sandbox_main
from atoll.sandbox.settings import SandboxSettings
from campaign.clock import Skew, install
from hub.support import settings as hub_settings
from rig.hosts import enter

Values = dict[str, Any]
_NEW_MOUNTS, _RECURSIVE, _PRIVATE = 0x00020000, 1 << 14, 1 << 18  # linux/sched.h, linux/mount.h


def main(role: str, text: str) -> None:
    """Run until SIGTERM."""
    values = json.loads(text)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(default=str),
        ],
    )
    if network := values.pop("network", ""):
        enter(network)
    if clock := values.pop("clock", ""):
        install(Skew(Path(clock)))
    if planted := values.pop("planted", ""):
        importlib.import_module("campaign.bugs").plant(planted)
    asyncio.run(_until_told(ROLES[role](values)))


async def _until_told(work: Awaitable[None]) -> None:
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def hub(values: Values) -> None:
    """A replica; members' credentials live only `credential_seconds`, so that some end in a campaign's time."""
    seconds = values.pop("credential_seconds")
    Signer.load = classmethod(lambda cls, folder, ca: cls(Keys.load(folder), ca, seconds))  # type: ignore[method-assign]
    values["nats"] = NatsFiles(Path(values.pop("keys")))
    values["data_command"] = tuple(values["data_command"])
    await hub_main.run(hub_settings(values.pop("nats_url"), Path(values.pop("folder")), **values))


async def cluster(values: Values) -> None:
    """A simulated cluster: its API server, controllers and kubelet."""
    _have_own_mounts()
    await sandbox_main.run(SandboxSettings.from_json(Path(values["config"]).read_bytes()))


async def agent(values: Values) -> None:
    paths = {key: Path(values[key]) for key in ("state_dir", "kubeconfig", "cilium_socket")}
    await member_main.run(MemberSettings(**{**values, **paths, "enrolment": _enrolment(values)}))


async def gateway(values: Values) -> None:
    enrolment, broker = _enrolment(values), BrokerSettings(values.pop("broker"), receiver=values.pop("receiver"))
    values["state_dir"] = Path(values["state_dir"])
    await gateway_main.run(GatewaySettings(**{**values, "enrolment": enrolment, "broker": broker}))


def _have_own_mounts() -> None:
    """Let no container have a copy of what is mounted later: a disk whose power is cut could not be taken away."""
    if sys.platform == "linux" and os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_NEW_MOUNTS) == 0:
            libc.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None)


def _enrolment(values: Values) -> EnrolmentSettings:
    given = values.pop("enrolment")
    return EnrolmentSettings(
        hub_url=given["hub_url"], token_file=Path(given["token_file"]), routes=Routes.parse(given["routes"])
    )


ROLES: Mapping[str, Callable[[Values], Awaitable[None]]] = {
    "hub": hub,
    "cluster": cluster,
    "agent": agent,
    "gateway": gateway,
}
