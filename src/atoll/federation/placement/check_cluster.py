"""Checks on the cluster as such: can it be told anything, may this job go there."""

import numpy as np

from atoll.federation.placement.case import Case
from atoll.federation.placement.reasons import Check, Explanation
from atoll.federation.placement.shapes import Bools
from atoll.federation.resources import LabelSelector
from atoll.federation.resources.base import Labels, SelectorRequirement


def _not_ready(case: Case) -> Bools:
    return ~case.table.is_ready & ~case.table.is_asleep


def _explain_not_ready(case: Case, position: int) -> Explanation:
    view = case.table.views[position]
    if view.lost_since is None:
        return view.trouble or "its agent has not reported yet", {"phase": view.phase}
    since = view.lost_since.isoformat()
    return f"its agent was not heard since {since}", {"phase": view.phase, "lostSince": since}


def _asleep(case: Case) -> Bools:
    return case.table.is_asleep


def _explain_asleep(case: Case, position: int) -> Explanation:
    view = case.table.views[position]
    until = view.wakes_at.isoformat() if view.wakes_at is not None else None
    return view.trouble or "it is asleep", {"phase": view.phase, "until": until}


def _cordoned(case: Case) -> Bools:
    return case.table.is_cordoned


def _explain_cordoned(_case: Case, _position: int) -> Explanation:
    return "it is cordoned: nothing new is placed there", {}


def _leaving(case: Case) -> Bools:
    return case.table.is_leaving


def _explain_leaving(_case: Case, _position: int) -> Explanation:
    return "it is leaving the federation", {}


def _labels_differ(case: Case) -> Bools:
    return ~case.table.labelled(case.demand.clusters)


def _explain_labels(case: Case, position: int) -> Explanation:
    unmet = _unmet(case.demand.clusters, dict(case.table.views[position].labels))
    return f"its labels do not satisfy spec.placement.clusters: {', '.join(unmet)}", {"unmet": unmet}


def _unmet(selector: LabelSelector, labels: Labels) -> list[str]:
    pairs = [f"{key}={value}" for key, value in selector.match_labels.items() if labels.get(key) != value]
    terms = [
        term for term in selector.match_expressions if not LabelSelector(match_expressions=(term,)).matches(labels)
    ]
    return pairs + [_written(term) for term in terms]


def _written(term: SelectorRequirement) -> str:
    match term.operator:
        case "Exists":
            return term.key
        case "DoesNotExist":
            return f"!{term.key}"
    return f"{term.key} {term.operator.lower()} ({', '.join(term.values)})"


def _elsewhere(case: Case) -> Bools:
    return ~case.table.within(case.demand.residency)


def _explain_elsewhere(case: Case, position: int) -> Explanation:
    there, wanted = case.table.views[position].residency, case.demand.residency
    is_in = f"is in {', '.join(there)}" if there else "declares no residency"
    return f"it {is_in}; spec.placement.residency wants {', '.join(wanted)}", {"is": there, "wants": wanted}


def _unknown_resource(case: Case) -> Bools:
    return np.full(len(case.table), bool(case.demand.unknown_resources))


def _explain_unknown_resource(case: Case, _position: int) -> Explanation:
    names = case.demand.unknown_resources
    return f"it does not report {', '.join(names)}, which the pod template asks for", {"resources": names}


def _not_served(case: Case) -> Bools:
    return ~case.table.serves(case.demand.kinds)


def _explain_not_served(case: Case, position: int) -> Explanation:
    served = case.table.views[position].workload_kinds
    missing = [
        f"{kind} ({api_version})" for api_version, kind in case.demand.kinds if (api_version, kind) not in served
    ]
    return f"it does not serve {' and '.join(missing)}: what provides that is not installed there", {"kinds": missing}


CLUSTER_CHECKS = (
    Check("ClusterNotReady", _not_ready, _explain_not_ready),
    Check("ClusterAsleep", _asleep, _explain_asleep),
    Check("ClusterLeaving", _leaving, _explain_leaving),
    Check("Cordoned", _cordoned, _explain_cordoned),
    Check("LabelMismatch", _labels_differ, _explain_labels),
    Check("Residency", _elsewhere, _explain_elsewhere),
    Check("KindNotServed", _not_served, _explain_not_served),
    Check("UnknownResource", _unknown_resource, _explain_unknown_resource),
)
