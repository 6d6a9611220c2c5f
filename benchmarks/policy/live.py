"""The plan among what runs now: CPU, memory and the length of its text, for thousands of distinct sets of labels.

    python -m benchmarks.policy.live [--policies 1000] [--sets 10000] [--clusters 1] [-o json]

Every set is told apart by some policy, so that all pairs are compared. Each case has a process of its own, whose CPU
seconds and largest memory are given: `rest` has read policies and sets and compares nothing; `one` and `hundred` are so
many policies more; `none` is all of them gone.
What stands beside: the seconds that judging each pair by itself would take, from a sample of them at eight ports.
"""

import argparse
import json
import multiprocessing
import random
import resource
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.policy.engine import policies, targets

from atoll.federation.resources.labelsets import ClusterWorkloads, LabelSet
from atoll.policies.compile import compile_for
from atoll.policies.manifest import Manifest
from atoll.policies.trials.markdown import to_markdown
from atoll.policies.trials.parties import endpoints_of
from atoll.policies.trials.plan import make_plan
from atoll.policies.verdict import Flow, World, verdict

_NAMESPACES, _SAMPLE, _PORTS = 50, 5_000, (22, 53, 80, 443, 3000, 8080, 9090, 50_000)
CASES = ("rest", "one", "hundred", "none")


def workloads(sets: int, clusters: int) -> dict[str, ClusterWorkloads]:
    """Give clusters with so many distinct sets of labels each."""
    return {
        f"c{number}": ClusterWorkloads(
            namespaces={f"ns{space}": {} for space in range(_NAMESPACES)},
            sets=tuple(LabelSet(namespace=f"ns{n % _NAMESPACES}", labels=_labels(n), pods=3) for n in range(sets)),
        )
        for number in range(clusters)
    }


def _labels(number: int) -> dict[str, str]:
    return {"app": f"a{number // _NAMESPACES}", "version": f"v{number % 7}"}


def changed(case: str, held: tuple[Manifest, ...]) -> tuple[Manifest, ...]:
    """Give the policies as a case leaves them."""
    if case == "none":
        return ()
    more = {"one": 1, "hundred": 100}.get(case, 0)
    extra = policies(len(held) + more, random.Random(1))[len(held) :] if more else ()
    return (*held, *extra)


def run(case: str, sizes: tuple[int, int, int], told: Any) -> None:
    """Measure one case, in a process of its own."""
    count, sets, clusters = sizes
    held, running = policies(count, random.Random(1)), workloads(sets, clusters)
    after, places = changed(case, held), targets(clusters)
    began = time.process_time()
    live = running if case != "rest" else None
    plan = make_plan(held, after, places, {}, {}, live)
    text = to_markdown(plan)
    told.put(
        {
            "seconds": time.process_time() - began,
            "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "pairs": plan.live.pairs if plan.live is not None else 0,
            "blocks": len(plan.live.blocks) if plan.live is not None else 0,
            "characters": len(text),
        }
    )


def by_hand(count: int, sets: int, clusters: int) -> float:
    """Estimate the seconds of judging every pair by itself, before and after, at some ports."""
    running, places = workloads(sets, clusters), targets(clusters)
    held = policies(count, random.Random(1))
    world = World({name: compile_for(held, place).manifests for name, place in places.items()})
    pods, chooser = [pod for pod, _ in endpoints_of(running)], random.Random(2)
    pairs = [(chooser.choice(pods), chooser.choice(pods)) for _ in range(_SAMPLE)]
    began = time.process_time()
    for source, destination in pairs:
        for port in _PORTS:
            verdict(world, Flow(source, destination, port))
    return (time.process_time() - began) / _SAMPLE * 2 * len(pods) ** 2


def measure(count: int, sets: int, clusters: int) -> dict[str, Any]:
    """Measure all cases."""
    context = multiprocessing.get_context("spawn")
    found: dict[str, Mapping[str, float]] = {}
    for case in CASES:
        told = context.Queue()
        process = context.Process(target=run, args=(case, (count, sets, clusters), told))
        process.start()
        found[case] = told.get(timeout=1800)
        process.join()
    return {
        "policies": count,
        "sets": sets,
        "clusters": clusters,
        "by_hand_seconds": by_hand(count, sets, clusters),
    } | {"cases": found}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--policies", type=int, default=1000)
    arguments.add_argument("--sets", type=int, default=10_000)
    arguments.add_argument("--clusters", type=int, default=1)
    arguments.add_argument("-o", "--output", choices=("text", "json"), default="text")
    given = arguments.parse_args()
    result = measure(given.policies, given.sets, given.clusters)
    if given.output == "json":
        print(json.dumps(result))
    else:
        print(f"one by one: {result['by_hand_seconds']:,.0f} s of CPU")
        for name, case in result["cases"].items():
            print(f"{name:10} " + "   ".join(f"{what} {value:,.1f}" for what, value in case.items()))
