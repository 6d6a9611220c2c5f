"""What a queue's status says of it, and of what its children were promised. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from atoll.federation.queueing.amounts import BASE, written
from atoll.federation.queueing.shares import Measure
from atoll.federation.queueing.tree import QueueTree
from atoll.federation.resources.queue import HeldAmounts

PARENT_NOT_FOUND, BELOW_ITSELF, OVERCOMMITTED, BACKED = "ParentNotFound", "BelowItself", "Overcommitted", "Backed"


@dataclass(frozen=True)
class Soundness:
    """Whether a queue's place in the tree and its children's guarantees hold together, and why not."""

    is_sound: bool
    reason: str
    message: str = ""


def held(tree: QueueTree, queue: str) -> HeldAmounts:
    """Give what a queue holds."""
    return _amounts(tree, tree.used[queue])


def borrowed(tree: QueueTree) -> dict[str, HeldAmounts]:
    """Give what each queue holds beyond its guarantee, of the resources that any queue is guaranteed."""
    sure = guaranteed(tree)
    spoken_of = [any(amounts[at] for amounts in sure.values()) for at in range(len(tree.axes.paths))]
    return {
        name: _amounts(tree, [max(0, used[at] - sure[name][at]) if spoken_of[at] else 0 for at in range(len(used))])
        for name, used in tree.used.items()
    }


def guaranteed(tree: QueueTree) -> dict[str, list[int]]:
    """Give what each queue is sure of; one that says nothing of a resource is sure of what its children are."""
    sure = {name: tree.axes.zero() for name in tree.grants}
    for name in sorted(tree.grants, key=lambda each: -len(tree.lines[each])):  # children before their parents
        above = tree.parent(name)
        for at, own in enumerate(tree.grants[name].guaranteed):
            sure[name][at] = sure[name][at] if own is None else own
            if above is not None:
                sure[above][at] += sure[name][at]
    return sure


def fair_shares(tree: QueueTree) -> dict[str, float]:
    """Give the part of the federation that weights give each queue: its part among siblings, of its parent's part."""
    parents = {name: tree.parent(name) for name in tree.grants}
    sums: Counter[str | None] = Counter()
    for name, grant in tree.grants.items():
        sums[parents[name]] += grant.weight
    parts: dict[str, float] = {}
    for name in sorted(tree.grants, key=lambda each: len(tree.lines[each])):
        above = parents[name]
        whole = 1.0 if above is None else parts[above]
        parts[name] = whole * tree.grants[name].weight / sums[above]
    return parts


def share(tree: QueueTree, queue: str, measure: Measure) -> float:
    """Give the part of the federation that a queue holds, of the resource of which that is largest."""
    return measure.share(tree.used[queue])


def soundness(tree: QueueTree, queue: str, parents: Mapping[str, str | None]) -> Soundness:
    """Judge a queue by its parent and its children; `parents` has what every Queue's spec names."""
    above = parents[queue]
    if above is not None and above not in parents:
        return Soundness(False, PARENT_NOT_FOUND, f"there is no queue {above}: create it or change spec.parent")
    if above is not None and queue in tree.lines[above]:
        return Soundness(False, BELOW_ITSELF, f"queue {above} is below this one: change spec.parent of one of them")
    children = [name for name, parent in parents.items() if parent == queue and name != queue]
    problems = tuple(_overcommitted(tree, queue, children))
    return Soundness(False, OVERCOMMITTED, "; ".join(problems)) if problems else Soundness(True, BACKED)


def _overcommitted(tree: QueueTree, queue: str, children: list[str]) -> Iterator[str]:
    """Name what children were promised beyond the queue's own guarantee. One that promises nothing passes all on."""
    for at, path in enumerate(tree.axes.paths):
        sure = tree.grants[queue].guaranteed[at]
        promised = sum(tree.grants[child].guaranteed[at] or 0 for child in children)
        if sure is not None and promised > sure:
            yield (
                f"the queues below it are guaranteed {written(path, promised)}, it has {written(path, sure)}: "
                f"raise quota.guaranteed.{path} or lower theirs"
            )


def _amounts(tree: QueueTree, vector: list[int]) -> HeldAmounts:
    models = zip(tree.axes.models, vector[len(BASE) :], strict=True)
    return HeldAmounts(
        millicores=vector[0],
        memory_bytes=vector[1],
        gpus=vector[2],
        gpu_models={model: count for model, count in models if count},
    )
