"""What each kind of fault does to a federation: how it begins, and how it ends. The kinds are `schedule.py`'s."""

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from atoll.federation.errors import AtollError
from atoll.sandbox.control import Control
from campaign import damage, links
from campaign.children import Child
from campaign.clock import Skew
from campaign.scene import Does, Scene
from campaign.schedule import Planned
from campaign.whole import Cluster
from rig.wire import WHOLE, Trouble, Wire

_SKEWS = (-3600.0, -90.0, 90.0, 3600.0, 90_000.0)
_STORM_SECONDS = 0.7
# After a clock is right again, so much later what was said by the wrong one has been said anew.
_BELIEVED_SECONDS = 30.0


def wreak(scene: Scene, planned: Sequence[Planned], *, seconds: float, say: Callable[[str], None]) -> list[str]:
    """Do what is planned, each in its time; return when that and so many seconds are over. Gives what failed."""
    begun, failed = time.monotonic(), list[str]()

    def suffer(fault: Planned) -> None:
        try:
            time.sleep(max(0.0, begun + fault.at - time.monotonic()))
            say(fault.text())
            with DOES[fault.kind](scene, fault):
                time.sleep(fault.seconds)
        except Exception as error:
            failed.append(f"{fault.kind}: {fault.place}: could not be done: {error!r}")

    threads = [threading.Thread(target=suffer, args=(fault,), name=fault.kind) for fault in planned]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(max(0.0, begun + seconds - time.monotonic()))
    return failed


def _kills(find: Callable[[Scene, str], Child]) -> Does:
    @contextmanager
    def kill(scene: Scene, fault: Planned) -> Iterator[None]:
        child = find(scene, fault.place)
        child.kill()
        try:
            yield
        finally:
            child.start()

    return kill


def _pauses(find: Callable[[Scene, str], Child]) -> Does:
    @contextmanager
    def pause(scene: Scene, fault: Planned) -> Iterator[None]:
        child = find(scene, fault.place)
        child.pause()
        try:
            yield
        finally:
            child.resume()

    return pause


def _storms(find: Callable[[Scene, str], Child]) -> Does:
    @contextmanager
    def storm(scene: Scene, fault: Planned) -> Iterator[None]:
        child, end = find(scene, fault.place), time.monotonic() + fault.seconds
        while time.monotonic() < end:
            child.kill()
            child.start()
            time.sleep(_STORM_SECONDS)
        yield

    return storm


def _skews(find: Callable[[Scene, str], Skew]) -> Does:
    @contextmanager
    def skew(scene: Scene, fault: Planned) -> Iterator[None]:
        clock, mistimed = find(scene, fault.place), scene.policies.mistimed
        mistimed.add(fault.place)
        clock.set(random.Random(fault.salt).choice(_SKEWS))
        try:
            yield
        finally:
            clock.set(0.0)
            later = threading.Timer(_BELIEVED_SECONDS, lambda: mistimed.discard(fault.place))
            later.daemon = True
            later.start()

    return skew


def _troubles(find: Callable[[Scene, str], list[Wire]], trouble: Trouble) -> Does:
    @contextmanager
    def be_in_trouble(scene: Scene, fault: Planned) -> Iterator[None]:
        wires = find(scene, fault.place)
        for wire in wires:
            wire.trouble(trouble)
        try:
            yield
        finally:
            for wire in wires:
                wire.trouble(WHOLE)

    return be_in_trouble


@contextmanager
def _cut_cluster(scene: Scene, fault: Planned) -> Iterator[None]:
    """Cut off agent and pods together."""
    cluster = scene.federation.cluster(fault.place)
    agent = cluster.agent
    with (
        _planted(cluster, "CutHub"),
        _troubles(lambda *_: [agent.to_nats, agent.to_hub], Trouble(is_cut=True))(scene, fault),
    ):
        yield


@contextmanager
def _kill_api(scene: Scene, fault: Planned) -> Iterator[None]:
    with _planted(scene.federation.cluster(fault.place), "KillApiServer"):
        yield


@contextmanager
def _planted(cluster: Cluster, kind: str) -> Iterator[None]:
    """Let a fault of the sandbox's own stand. It heals all of a cluster at once: what else stands is planted again."""
    control = Control(cluster.admin_socket)
    with _HEALING:
        control.plant({"kind": kind, "cluster": cluster.name})
    try:
        yield
    finally:
        with _HEALING:
            others = [each for each in control.heal(cluster.name) if each["kind"] != kind]
            for each in others:
                with contextlib.suppress(AtollError):
                    control.plant({"kind": each["kind"], "cluster": cluster.name})


_HEALING = threading.Lock()


@contextmanager
def _kill_node(scene: Scene, fault: Planned) -> Iterator[None]:
    node = next(each for each in scene.federation.nodes if each.name == fault.place)
    node.kill9()
    try:
        yield
    finally:
        node.start()


@contextmanager
def _pause_node(scene: Scene, fault: Planned) -> Iterator[None]:
    node = next(each for each in scene.federation.nodes if each.name == fault.place)
    assert node.process is not None
    node.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        node.process.send_signal(signal.SIGCONT)


def _meddles(*, deletes: bool) -> Does:
    @contextmanager
    def meddle(scene: Scene, fault: Planned) -> Iterator[None]:
        policy = random.Random(fault.salt).choice(("NetworkPolicy/deny", "NetworkPolicy/data"))
        scene.policies.meddle(fault.place, policy, deletes=deletes)
        yield

    return meddle


@contextmanager
def _nonsense(scene: Scene, fault: Planned) -> Iterator[None]:
    scene.policies.repository.commit_nonsense()
    yield


def _hub_child(scene: Scene, place: str) -> Child:
    return scene.hub(place)[0]


def _member_child(scene: Scene, place: str) -> Child:
    return scene.member(place).child


def _member_clock(scene: Scene, place: str) -> Skew:
    return scene.member(place).clock


def _to_nats(scene: Scene, place: str) -> list[Wire]:
    return [scene.member(place).to_nats]


def _all_ways(scene: Scene, place: str) -> list[Wire]:
    member = scene.member(place)
    return [member.to_nats, member.to_hub]


def _to_broker(scene: Scene, place: str) -> list[Wire]:
    return [lab.to_broker for lab in scene.federation.labs if lab.name == place]


def _to_api(scene: Scene, place: str) -> list[Wire]:
    return [scene.federation.cluster(place).api]


_DISORDER = Trouble(twice=0.15, overtaken=0.15, delay_seconds=0.005)
_ERRORS = Trouble(refused=0.4, answers=(429, 500, 503, 409))


def _of_members(kind: str) -> dict[str, Does]:
    """Give what may happen to agents and gateways alike."""
    return {
        f"{kind} killed": _kills(_member_child),
        f"{kind} paused": _pauses(_member_child),
        f"{kind} restarted again and again": _storms(_member_child),
        f"{kind}'s clock wrong": _skews(_member_clock),
        f"{kind}'s credentials revoked": damage.revoke,
    }


def _of_links(name: str) -> dict[str, Does]:
    return {
        f"{name}'s link deaf": _troubles(_to_nats, Trouble(is_deaf=True)),
        f"{name}'s link mute": _troubles(_to_nats, Trouble(is_mute=True)),
        f"{name}'s link slow": _troubles(_to_nats, Trouble(delay_seconds=0.4)),
        f"{name}'s messages twice and out of order": _troubles(_to_nats, _DISORDER),
    }


DOES: Mapping[str, Does] = {
    "hub killed": _kills(_hub_child),
    "hub paused": _pauses(_hub_child),
    "hub restarted again and again": _storms(_hub_child),
    "hub's clock wrong": _skews(lambda scene, place: scene.hub(place)[1]),
    "NATS server killed": _kill_node,
    "NATS server paused": _pause_node,
    **_of_members("agent"),
    **_of_members("gateway"),
    **_of_links("cluster"),
    **_of_links("gateway"),
    **links.faults("hub"),
    **links.faults("cluster"),
    **links.faults("gateway"),
    "agent's files damaged": damage.damage_agent,
    "gateway's files damaged": damage.damage_gateway,
    "cluster cut off": _cut_cluster,
    "cluster cut off until its credentials end": _cut_cluster,
    "gateway cut off": _troubles(_all_ways, Trouble(is_cut=True)),
    "gateway's disk full": damage.fill_disk,
    "gateway's disk hangs": damage.hang_disk,
    "gateway's power cut": damage.cut_power,
    "broker's link cut": _troubles(_to_broker, Trouble(is_cut=True)),
    "broker's link slow": _troubles(_to_broker, Trouble(delay_seconds=0.2)),
    "API server killed": _kill_api,
    "API server answers 429, 500, 503, 409": _troubles(_to_api, _ERRORS),
    "API server does it and the answer is lost": _troubles(_to_api, replace(_ERRORS, answers=(-1,))),
    "API server hangs": _troubles(_to_api, Trouble(refused=1.0, answers=(0,))),
    "sink or mover killed": damage.kill_data,
    "work of a job killed": damage.kill_work,
    "policy changed by hand": _meddles(deletes=False),
    "policy deleted by hand": _meddles(deletes=True),
    "nonsense committed": _nonsense,
}
