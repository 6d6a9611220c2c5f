"""A whole simulated cluster, whose kubelet runs processes, with an agent in it."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

from atoll.edge.enrolment import EnrolmentSettings
from atoll.edge.member.settings import MemberSettings
from atoll.sandbox.cilium.agent import CiliumAgent
from atoll.sandbox.cilium.links import Links
from atoll.sandbox.cluster import simulated
from atoll.sandbox.serving import listen, listen_unix, serving
from atoll.sandbox.spec import DEFAULT_CLUSTERS
from member.harness import CLUSTER, running_agent

SPECS = {spec.name: spec for spec in DEFAULT_CLUSTERS}


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class SandboxWorld:
    """The mesh, whose links may be cut, and what the agent was told at its start."""

    links: Links
    settings: MemberSettings

    @property
    def kubeconfig(self) -> Path:
        assert self.settings.kubeconfig is not None
        return self.settings.kubeconfig


@contextlib.asynccontextmanager
async def sandbox_world(nats_url: str, folder: Path) -> AsyncIterator[SandboxWorld]:
    """Run a cluster and its agent, which lets people run commands, for the time of a block."""
    links = Links(tuple(SPECS), now)
    async with contextlib.AsyncExitStack() as stack:
        spec = SPECS[CLUSTER]
        cluster = await stack.enter_async_context(
            simulated(spec, folder / "cluster", clock=now, isolation="rewrite", reason="a test")
        )
        listener = listen(0)
        sockets = stack.enter_context(tempfile.TemporaryDirectory())  # pytest's own paths are too long for sockets
        socket = Path(sockets) / "cilium.sock"
        await stack.enter_async_context(serving(cluster.app, listener))
        cilium = CiliumAgent(spec, SPECS, links, cluster.store)
        await stack.enter_async_context(serving(cilium.app(), listen_unix(socket)))
        settings = MemberSettings(
            cluster=CLUSTER,
            enrolment=EnrolmentSettings(nats_url),
            state_dir=folder / "agent",
            kubeconfig=kubeconfig_of(folder, listener.getsockname()[1]),
            cilium_socket=socket,
            job_exec=True,
            heartbeat_seconds=0.5,
        )
        await stack.enter_async_context(running_agent(settings))
        yield SandboxWorld(links, settings)


def kubeconfig_of(folder: Path, port: int) -> Path:
    """Write how an API server of this machine is reached that asks for no credentials."""
    path = folder / "kubeconfig"
    server = {"server": f"http://127.0.0.1:{port}"}
    content = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": server}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path
