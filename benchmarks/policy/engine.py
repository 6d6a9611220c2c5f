"""The policy engine: verdicts a second, and the time to compile and to plan a large set for many clusters.

    python benchmarks/policy/engine.py [--policies 1000] [--clusters 100] [--verdicts 1000000] [-o json]

CPU seconds of one core. What stands beside each: a verdict that asks every rule of every policy, as a plain reading of
the model would; one deep copy of the compiled objects, which a plan cannot be cheaper than.
"""

import argparse
import copy
import json
import random
import time
from collections.abc import Callable
from typing import Any

import yaml

from atoll.policies.compile import Target, compile_for
from atoll.policies.identity import Endpoint, Party
from atoll.policies.manifest import Manifest, parse_file
from atoll.policies.reading import read_rules
from atoll.policies.rules import Direction
from atoll.policies.trials.plan import make_plan
from atoll.policies.verdict import Flow, World, verdict

_APPS, _NAMESPACES, _PLAIN = 200, 50, 20_000


def policies(count: int, chooser: random.Random) -> tuple[Manifest, ...]:
    """Give NetworkPolicies and CiliumNetworkPolicies, half of each, in 50 namespaces."""
    bodies = [policy(number, chooser) for number in range(count)]
    parsed = parse_file(yaml.dump_all(bodies, Dumper=yaml.CSafeDumper), "policies.yaml")
    assert not parsed.problems, parsed.problems[:3]
    return parsed.manifests


def policy(number: int, chooser: random.Random) -> dict[str, Any]:
    metadata = {"name": f"p{number}", "namespace": f"ns{chooser.randrange(_NAMESPACES)}"}
    subject, peer = ({"matchLabels": {"app": f"a{chooser.randrange(_APPS)}"}} for _ in range(2))
    port = chooser.randrange(1, 60_000)
    if number % 2:
        rule = {"fromEndpoints": [peer], "toPorts": [{"ports": [{"port": str(port), "protocol": "TCP"}]}]}
        spec = {"endpointSelector": subject, "ingress": [rule]}
        return {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": metadata, "spec": spec}
    rule = {"from": [{"podSelector": peer}], "ports": [{"port": port}]}
    spec = {"podSelector": subject, "ingress": [rule]}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def targets(count: int) -> dict[str, Target]:
    """Give clusters of one mesh."""
    names = [f"c{number}" for number in range(count)]
    peers = {name: {other: {} for other in names if other != name} for name in names}
    return {name: Target(name, cilium_version="1.19.2", peers=peers[name]) for name in names}


def pods(count: int, chooser: random.Random) -> list[Endpoint]:
    """Give pods of two clusters."""
    return [
        Endpoint(f"pod{n}", f"c{n % 2}", f"ns{chooser.randrange(_NAMESPACES)}", {"app": f"a{chooser.randrange(_APPS)}"})
        for n in range(count)
    ]


def flows(parties: list[Endpoint], count: int, chooser: random.Random) -> list[Flow]:
    """Give connections at random."""
    return [Flow(chooser.choice(parties), chooser.choice(parties), chooser.randrange(1, 60_000)) for _ in range(count)]


def plain_verdicts(held: dict[str, tuple[Manifest, ...]], world: World, asked: list[Flow]) -> int:
    """Judge ingress by asking every rule of the cluster; count what is allowed."""
    rules = {name: read_rules(manifests, name, default_local_cluster=True) for name, manifests in held.items()}
    allowed = 0
    for flow in asked:
        receiver = flow.destination
        assert isinstance(receiver, Endpoint)
        identity = world.identity(receiver)
        mine = [r for r in rules[receiver.cluster] if r.direction is Direction.INGRESS and r.subject.matches(identity)]
        allowed += not mine or any(
            world.selects(rule, flow.source) and any(t.first <= flow.port <= t.last for t in rule.traffic or ())  # type: ignore[union-attr]
            for rule in mine
        )
    return allowed


def seconds(work: Callable[[], Any]) -> float:
    """Give the CPU seconds of some work."""
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(count: int, clusters: int, verdicts: int) -> dict[str, float]:
    """Measure everything once."""
    chooser = random.Random(1)
    manifests, places = policies(count, chooser), targets(clusters)
    compiled = {}

    def compile_all() -> None:
        compiled.update({name: compile_for(manifests, place) for name, place in places.items()})

    compiling = seconds(compile_all)
    changed = (*manifests[1:], *policies(1, random.Random(2)))
    parties: dict[str, Party] = {pod.name: pod for pod in pods(20, chooser)}
    planning = seconds(lambda: make_plan(manifests, changed, places, parties, {}))
    copying = seconds(lambda: copy.deepcopy([manifest.body for manifest in compiled["c0"].manifests]))
    held = {name: compiled[name].manifests for name in ("c0", "c1")}
    crowd = pods(1000, chooser)
    world, asked = World(held), flows(crowd, verdicts, chooser)
    judging = seconds(lambda: [verdict(world, flow) for flow in asked])
    plain = asked[:_PLAIN]
    beside = seconds(lambda: plain_verdicts(held, World(held), plain))
    return {
        "policies": count,
        "clusters": clusters,
        "compile_seconds": compiling,
        "plan_seconds": planning,
        "plan_to_copy": planning / (copying * clusters * 2),
        "verdicts_per_second": verdicts / judging,
        "plain_verdicts_per_second": _PLAIN / beside,
        "ratio": (verdicts / judging) / (_PLAIN / beside),
    }


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--policies", type=int, default=1000)
    arguments.add_argument("--clusters", type=int, default=100)
    arguments.add_argument("--verdicts", type=int, default=1_000_000)
    arguments.add_argument("-o", "--output", choices=("text", "json"), default="text")
    given = arguments.parse_args()
    found = measure(given.policies, given.clusters, given.verdicts)
    if given.output == "json":
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:28} {value:,.2f}")
