"""A plan as text for a pull request: short enough for a comment, whatever changes in however many clusters. Pure."""

from collections.abc import Iterator, Sequence

from atoll.policies.trials.live import Changes
from atoll.policies.trials.plan import MOST_SHOWN, ClusterChange, Plan
from atoll.policies.trials.wording import side, words

# GitHub takes 65,536 characters in a comment; GitLab and Gitea take more.
LONGEST = 60_000
_NAMES_SHOWN = 10
_CUT = "\n… the rest is cut: a comment takes no more. `-o json` has all of it.\n"


def to_markdown(plan: Plan) -> str:
    """Write a plan; of a long one the first of each sort, with how many more there are."""
    lines = ["### Policy plan", "", *_objects(plan.clusters), "", *_refusals(plan.clusters)]
    if plan.flows:
        lines += ["", "| | from | to | before | after |", "|---|---|---|---|---|"]
        for flow in plan.flows[:MOST_SHOWN]:
            sign = "opens" if flow.opens else "closes"
            lines.append(_row(sign, flow.after.source, flow.after.destination, flow.before.ports, flow.after.ports))
        lines += _more(len(plan.flows))
    elif plan.pairs:
        lines += ["", f"No verdict changes among {plan.pairs} pairs of stated workloads."]
    if plan.live is not None:
        lines += ["", *_live(plan.live, plan.untold)]
    return _cut("\n".join(lines) + "\n")


def _objects(clusters: Sequence[ClusterChange]) -> Iterator[str]:
    """Give a row for all clusters in which the same objects change."""
    if not clusters:
        yield "No object changes in any cluster."
        return
    alike: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for one in clusters:
        alike.setdefault((one.added, one.changed, one.removed), []).append(one.cluster)
    yield "| clusters | added | changed | removed |"
    yield "|---|---|---|---|"
    for objects, names in list(alike.items())[:MOST_SHOWN]:
        yield _row(_list(names), *map(_list, objects))
    yield from _more(len(alike))


def _refusals(clusters: Sequence[ClusterChange]) -> Iterator[str]:
    """Name what cannot be enforced, with all clusters in which it cannot."""
    alike: dict[str, list[str]] = {}
    for one in clusters:
        for item in one.unenforceable:
            alike.setdefault(item, []).append(one.cluster)
    for item, names in list(alike.items())[:MOST_SHOWN]:
        yield f"- **{_list(names, ', ')} cannot enforce** {item}"
    yield from _more(len(alike))


def _live(live: Changes, untold: tuple[str, ...]) -> Iterator[str]:
    yield f"#### Among the {live.sets} label sets that run now"
    yield ""
    if live.blocks:
        yield "| | from | to | before | after | pods |"
        yield "|---|---|---|---|---|---|"
    for block in live.blocks[:MOST_SHOWN]:
        sign = "**opens**" if block.opens else "closes"
        yield _row(
            sign,
            side(block.sources),
            side(block.destinations),
            words(block.before),
            words(block.after),
            str(block.pods),
        )
    yield from _more(len(live.blocks))
    if not live.blocks:
        yield f"No verdict changes among {live.pairs} pairs of parties that policies tell apart."
    if untold:
        yield from ("", f"Not known is what runs in {_list(untold, ', ')}.")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _more(count: int) -> Iterator[str]:
    if count > MOST_SHOWN:
        yield from ("", f"… and {count - MOST_SHOWN} more.")


def _list(names: Sequence[str], between: str = "<br>") -> str:
    more = f"{between}and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return between.join(names[:_NAMES_SHOWN]) + more or "-"


def _cut(text: str) -> str:
    """Keep a text within what a comment takes, by whole lines."""
    if len(text) <= LONGEST:
        return text
    return text[: text.rindex("\n", 0, LONGEST - len(_CUT))] + "\n" + _CUT
