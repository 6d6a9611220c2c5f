"""watch: where it begins, what a selector makes of changes, how it begins with a list, and what is refused.

Every watch here goes on from a version that lies behind, so that all it must show has happened when it begins.
"""

from sandbox.differential.asking import MAPS, MERGE, Ask, Story, config_map, patch

FORBIDDEN, NOT_SUPPORTED = "FieldValueForbidden", "FieldValueNotSupported"
MATCH = "resourceVersionMatch"
_END = "timeoutSeconds=1"
_INITIAL = f"sendInitialEvents=true&{MATCH}=NotOlderThan"

_START = Ask(f"GET {MAPS}", keep={"rv": "metadata.resourceVersion"})
_HISTORY = (
    _START,
    Ask(f"POST {MAPS}", 201, body=config_map("a", x="1"), keep={"made": "metadata.resourceVersion"}),
    patch(MERGE, f"{MAPS}/a", {"metadata": {"labels": {"tier": "front"}}}),
    Ask(f"POST {MAPS}", 201, body=config_map("b")),
    patch(MERGE, f"{MAPS}/a", {"metadata": {"labels": {"tier": "back"}}}),
    Ask(f"DELETE {MAPS}/a"),
)


def _events(*events: str) -> dict[str, object]:
    """Expect events, each as `TYPE name`."""
    expected: dict[str, object] = {"#": len(events)}
    for index, event in enumerate(events):
        kind, name = event.split()
        expected |= {f"{index}.type": kind, f"{index}.object.metadata.name": name}
    return expected


STORIES: dict[str, Story] = {
    "a watch goes on after the version it is given": (
        *_HISTORY,
        Ask(
            f"GET {MAPS}?watch=true&resourceVersion={{rv}}&{_END}",
            has=_events("ADDED a", "MODIFIED a", "ADDED b", "MODIFIED a", "DELETED a"),
        ),
        Ask(
            f"GET {MAPS}?watch=1&resourceVersion={{made}}&{_END}",
            has=_events("MODIFIED a", "ADDED b", "MODIFIED a", "DELETED a"),
        ),
    ),
    "what begins or ceases to match is added or deleted": (
        *_HISTORY,
        Ask(
            f"GET {MAPS}?watch=true&resourceVersion={{rv}}&labelSelector=tier%3Dfront&{_END}",
            has=_events("ADDED a", "DELETED a") | {"1.object.metadata.labels.tier": "front"},
        ),
        Ask(
            f"GET {MAPS}?watch=true&resourceVersion={{rv}}&fieldSelector=metadata.name%3Db&{_END}",
            has=_events("ADDED b"),
        ),
        Ask(f"GET {MAPS}/b?watch=true&resourceVersion={{rv}}&{_END}", has=_events("ADDED b")),
    ),
    "a watch without a version begins with what is there": (
        *_HISTORY,
        Ask(f"GET {MAPS}?watch=true&{_END}", has=_events("ADDED b")),
        Ask(f"GET {MAPS}?watch=true&resourceVersion=0&{_END}", has=_events("ADDED b")),
        Ask(f"GET {MAPS}?watch&{_END}", has=_events("ADDED b")),
    ),
    "initial events end with a marked bookmark": (
        *_HISTORY,
        Ask(
            f"GET {MAPS}?watch=true&allowWatchBookmarks=true&{_INITIAL}&{_END}",
            has={
                "#": 2,
                "0.type": "ADDED",
                "0.object.metadata.name": "b",
                "1.type": "BOOKMARK",
                "1.object.kind": "ConfigMap",
                "1.object.metadata.annotations": {"k8s.io/initial-events-end": "true"},
            },
        ),
        Ask(
            f"GET {MAPS}?watch=true&sendInitialEvents=false&{MATCH}=NotOlderThan&resourceVersion={{made}}&{_END}",
            has=_events("MODIFIED a", "ADDED b", "MODIFIED a", "DELETED a"),
        ),
    ),
    "a watch that contradicts itself is invalid": (
        Ask(
            f"GET {MAPS}?watch=true&sendInitialEvents=true&{_END}",
            422,
            "Invalid",
            causes={MATCH: FORBIDDEN},
            has={"details.group": "meta.k8s.io", "details.kind": "ListOptions"},
        ),
        Ask(
            f"GET {MAPS}?watch=true&{MATCH}=NotOlderThan&resourceVersion=0&{_END}",
            422,
            "Invalid",
            causes={MATCH: FORBIDDEN},
        ),
        Ask(
            f"GET {MAPS}?watch=true&sendInitialEvents=true&{MATCH}=Exact&{_END}",
            422,
            "Invalid",
            has={"details.causes.#": 2},
        ),
        Ask(f"GET {MAPS}?watch=true&labelSelector=tier%20near%20x&{_END}", 400, "BadRequest"),
        Ask(f"GET {MAPS}?watch=true&timeoutSeconds=soon", 400, "BadRequest"),
    ),
}
