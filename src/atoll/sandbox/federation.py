"""Federations on this machine: which processes one is made of, which objects it begins with, and when it is ready.

A composition root. It uses the hub from outside, by its API; what the processes do is their rooms' business.
"""

import asyncio
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from atoll.cli import kinds
from atoll.cli.api import Api, Json
from atoll.cli.enrolling import invite
from atoll.federation.bus.membership import MEMBER_FILE
from atoll.federation.errors import InvalidInput, Unavailable
from atoll.federation.resources import GROUP_VERSION
from atoll.local import hub as local_hub
from atoll.local.context_entry import add_context
from atoll.local.home import Home, write_atomically
from atoll.local.hub import LocalHub
from atoll.local.ports import assign
from atoll.local.stack import Compose, Stack, atoll, environment, start_broker, start_nats
from atoll.local.state import ClusterAccess
from atoll.local.supervisor import ProcessSpec
from atoll.sandbox.faults.agents import agent_process
from atoll.sandbox.faults.book import FAULTS_FILE
from atoll.sandbox.forms import sandbox_clusters
from atoll.sandbox.kinds.operated import USUAL as USUAL_KINDS
from atoll.sandbox.kinds.operated import check_kinds
from atoll.sandbox.readiness import Awaited
from atoll.sandbox.settings import HUB, NATS, SETTINGS_FILE, SandboxSettings, port_names
from atoll.sandbox.spec import DEFAULT_CLUSTERS, ClusterSpec
from atoll.sandbox.state import STATE_FILE, ClusterState, read_state

GATEWAY = "lab-a"
INSTRUMENTS = "instruments"  # the folder that the gateway may take files from
USUAL_CLUSTERS = len(DEFAULT_CLUSTERS)
_TOKEN = "enrolment-token"  # noqa: S105 - a file name
_INVITED = "invited.uid"  # of which object it was made a member
_GATEWAY_HEARTBEAT_SECONDS = "0.5"
_READY_SECONDS, _READY_SECONDS_EACH = 60.0, 6.0
_SIZE_FILE = "clusters.count"
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Federation:
    """What is simulated beside a hub: some clusters, and perhaps a lab gateway with MQTT. `port` is the hub's.

    With `has_faults` every cluster has a way of its own to the hub and to NATS, which can be cut. Agents are heard
    every `heartbeat_seconds`; who is silent for `timeout_seconds` counts as lost.
    """

    specs: tuple[ClusterSpec, ...]
    gateway: str = ""
    port: int | None = None
    has_faults: bool = False
    heartbeat_seconds: float = 2.0
    timeout_seconds: float = 30.0


def sandbox(home: Home, clusters: int | None = None, *, kinds: Iterable[str] = USUAL_KINDS) -> Federation:
    """Give the sandbox of a home with so many clusters; None means as many as it had, or the four known ones.

    Args:
        kinds: of which workloads every cluster has an operator, beside Jobs.

    Raises:
        InvalidInput: there cannot be so many, or it had more: what a cluster that is left out ran would be lost. Or
            no operator of a kind is simulated.
    """
    before = _size_of(home)
    if clusters is not None and before is not None and clusters < before:
        raise InvalidInput(
            f"--clusters: this sandbox has {before}, and grows but does not shrink: choose another --home, or delete "
            f"{home.root} to begin anew"
        )
    served = check_kinds(kinds)
    specs = sandbox_clusters(clusters or before or USUAL_CLUSTERS)
    return Federation(tuple(replace(spec, kinds=served) for spec in specs), GATEWAY, has_faults=True)


def seconds_to_start(clusters: int) -> float:
    """Give how long so many clusters may take to become Ready: every agent is a process, and two cores are enough."""
    return max(_READY_SECONDS, clusters * _READY_SECONDS_EACH)


def _size_of(home: Home) -> int | None:
    try:
        return int((home.root / _SIZE_FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def compose(federation: Federation) -> Compose:
    """Compose NATS, a hub, simulated clusters with an agent each, and the lab gateway if there is one."""
    return partial(_compose, federation)


def supervisor_command(home: Home) -> tuple[str, ...]:
    """Give the command line of a process that runs the sandbox in the background, without anybody's kubeconfig."""
    return atoll("sandbox", "up", "--foreground", "--no-context", "--home", str(home.root))


async def _compose(federation: Federation, stack: Stack) -> None:
    if federation.has_faults:
        write_atomically(stack.home.root / _SIZE_FILE, str(len(federation.specs)).encode())
    hub, broker_url = await _start_hub(federation, stack)
    clusters = read_state(stack.home.folder("clusters")).clusters
    stack.note(clusters=tuple(_access(cluster) for cluster in clusters))
    for cluster in clusters:
        add_context((stack.home.kubeconfig,), cluster.name, cluster.server)
    found = await asyncio.to_thread(create_objects, hub, objects(federation))
    stack.step(f"starting the agents{' and the gateway' if federation.gateway else ''}")
    await asyncio.to_thread(invite_members, stack.home, hub, found)
    agents = [run_agent(stack.home, cluster, hub, federation.heartbeat_seconds) for cluster in clusters]
    gateways = [_gateway_process(stack.home, hub, broker_url)] if federation.gateway else []
    await stack.supervisor.start(*agents, *gateways)
    stack.step("waiting until every cluster is Ready")
    names = tuple(spec.name for spec in federation.specs)
    await wait_ready(stack, hub, names, gateway=federation.gateway)


async def _start_hub(federation: Federation, stack: Stack) -> tuple[LocalHub, str]:
    """Start NATS, then the hub and the simulated clusters together; give the hub and where instruments publish."""
    with_mqtt, wanted = bool(federation.gateway), {"hub": federation.port} if federation.port else {}
    clusters = [name for spec in federation.specs for name in _port_names(federation, spec)]
    names = ("nats", *(("mqtt",) if with_mqtt else ()), "hub", *clusters)
    ports = assign(stack.home.ports_file, names, wanted=wanted)
    server = await start_nats(stack, ports)
    broker_url = (await start_broker(stack, ports)).url if with_mqtt else ""
    stack.step("starting the hub and the simulated clusters")
    options = ("--data-command", shlex.join(atoll()), "--heartbeat-timeout", f"{federation.timeout_seconds:g}")
    hub = local_hub.prepare(stack, server, ports["hub"], options=options)
    await stack.supervisor.start(hub.process, _clusters_process(stack.home, federation, ports))
    local_hub.note(stack, hub)
    return hub, broker_url


def objects(federation: Federation) -> list[dict[str, Any]]:
    """Give what the platform engineer of this federation would write: its clusters and its gateway."""
    gateways = [manifest("Gateway", federation.gateway, {"site": "lab"}, {})] if federation.gateway else []
    return [*(_cluster_object(spec) for spec in federation.specs), *gateways]


def _cluster_object(spec: ClusterSpec) -> dict[str, Any]:
    uplink, prices = spec.uplink, spec.prices
    return manifest(
        "Cluster",
        spec.name,
        {
            "mesh": {"id": spec.mesh_id},
            "residency": list(spec.residency),
            "costs": {"gpuHour": prices.gpu_hour, "cpuHour": prices.cpu_hour, "egressGib": prices.egress_gib},
            "network": {
                "uplinkBytesPerSecond": uplink.bytes_per_second,
                "roundTripSeconds": uplink.round_trip_seconds,
            },
            "storageClass": spec.storage.class_name,
        },
        dict(spec.labels),
    )


def manifest(kind: str, name: str, spec: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """Give an object as a person would write it."""
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": GROUP_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def create_objects(hub: LocalHub, manifests: Iterable[dict[str, Any]]) -> list[Json]:
    """Apply the objects and give them; on a home that was used before they are there already and stay as they were."""
    with Api(hub.context.server, hub.context.credentials) as api:
        return [api.apply(kinds.atoll(each["kind"]).path(None, each["metadata"]["name"]), each) for each in manifests]


def _port_names(federation: Federation, spec: ClusterSpec) -> tuple[str, ...]:
    return port_names(spec.name) if federation.has_faults else (spec.name,)


def _clusters_process(stack_home: Home, federation: Federation, ports: Mapping[str, int]) -> ProcessSpec:
    """Describe the process that simulates all clusters; its state file appears when they are up."""
    home = stack_home.folder("clusters")
    settings = SandboxSettings(
        home=home,
        clusters=federation.specs,
        ports={name: ports[name] for spec in federation.specs for name in _port_names(federation, spec)},
        upstreams={HUB: ports["hub"], NATS: ports["nats"]} if federation.has_faults else {},
        federation=stack_home.root,
    )
    (home / FAULTS_FILE).unlink(missing_ok=True)  # faults end with the federation, or it could not become Ready
    config, state_file = home / SETTINGS_FILE, home / STATE_FILE
    write_atomically(config, settings.to_json())
    state_file.unlink(missing_ok=True)

    async def is_ready() -> bool:
        return state_file.exists()

    return ProcessSpec(
        "clusters",
        atoll("sandbox", "serve", "--config", str(config)),
        environment(),
        is_ready,
        ready_seconds=seconds_to_start(len(federation.specs)),
    )


def invite_members(home: Home, hub: LocalHub, found: Sequence[Json]) -> None:
    """Enrol what is no member yet, as a person would by `atoll cluster join`; who has come in once stays a member.

    Whose object was deleted meanwhile has left: its credentials are revoked, and it comes in anew.
    """
    with Api(hub.context.server, hub.context.credentials) as api:
        for each in found:
            kind, name, uid = each["kind"].lower(), each["metadata"]["name"], each["metadata"]["uid"].encode()
            folder = home.folder("gateway") if kind == "gateway" else _agent_folder(home, name)
            is_member = (folder / "membership" / MEMBER_FILE).exists()
            if not (is_member and (folder / _INVITED).exists() and (folder / _INVITED).read_bytes() == uid):
                write_atomically(folder / _TOKEN, invite(api, kind, name).token.encode(), mode=0o600)
                write_atomically(folder / _INVITED, uid)


def _enrolment(hub: LocalHub, folder: Path) -> dict[str, str]:
    """Give the options by which a process in this home becomes a member."""
    return {
        "--hub": hub.context.server,
        "--hub-ca": str(hub.ca),
        "--enrolment-token-file": str(folder / _TOKEN),
        "--state-dir": str(folder),
    }


def _agent_folder(home: Home, cluster: str) -> Path:
    return home.folder(f"agents/{cluster}")


def run_agent(home: Home, cluster: ClusterState, hub: LocalHub, heartbeat_seconds: float) -> ProcessSpec:
    """Describe the agent of a cluster, as a process beside the hub."""
    arguments = {
        "--cluster": cluster.name,
        **_enrolment(hub, _agent_folder(home, cluster.name)),
        "--kubeconfig": cluster.kubeconfig,
        **({"--cilium-socket": cluster.cilium_socket} if cluster.cilium_socket else {}),
        "--heartbeat-seconds": f"{heartbeat_seconds:g}",
    }
    name, ways = agent_process(cluster.name), chain(*(("--connect-to", way) for way in cluster.connect_to))
    hold = home.hold_file(name)
    hold.unlink(missing_ok=True)
    return ProcessSpec(
        name, atoll("agent", *chain(*arguments.items()), "--cilium-exec", "--job-exec", *ways), environment(), hold=hold
    )


def _gateway_process(home: Home, hub: LocalHub, broker_url: str) -> ProcessSpec:
    arguments = {
        "--gateway": GATEWAY,
        **_enrolment(hub, home.folder("gateway")),
        "--broker": broker_url,
        "--files-root": f"{INSTRUMENTS}={home.folder(INSTRUMENTS)}",
        "--heartbeat-seconds": _GATEWAY_HEARTBEAT_SECONDS,
    }
    return ProcessSpec("gateway", atoll("gateway", "run", *chain(*arguments.items())), environment())


def _access(cluster: ClusterState) -> ClusterAccess:
    return ClusterAccess(
        name=cluster.name, url=cluster.server, kubeconfig=cluster.kubeconfig, storage=cluster.storage_root
    )


async def wait_ready(stack: Stack, hub: LocalHub, names: tuple[str, ...], *, gateway: str = "") -> None:
    """Wait until every cluster and the gateway have proven to the hub that they are there. Raises Unavailable."""
    seconds = seconds_to_start(len(names))
    deadline = time.monotonic() + seconds
    awaited = Awaited(names, gateway, since=stack.state.started_at)
    with Api(hub.context.server, hub.context.credentials) as api:
        while not await asyncio.to_thread(awaited.is_met, api):
            if time.monotonic() > deadline:
                late = await asyncio.to_thread(awaited.why_not, api)
                raise Unavailable(f"not everything is Ready after {seconds:.0f} s: {late}; see {stack.home.logs}")
            await asyncio.sleep(_POLL_SECONDS)
