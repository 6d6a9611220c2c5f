"""delete and deletecollection: preconditions, propagation, finalizers, dry runs."""

from sandbox.differential.asking import DEPLOYMENTS, MAPS, MERGE, Ask, Json, Story, config_map, deployment, patch

NOT_SUPPORTED = "FieldValueNotSupported"


def _held(name: str, *finalizers: str) -> Json:
    return {**config_map(name), "metadata": {"name": name, "finalizers": list(finalizers)}}


_A = Ask(
    f"POST {MAPS}", 201, body=config_map("a", x="1"), keep={"uid": "metadata.uid", "rv": "metadata.resourceVersion"}
)

STORIES: dict[str, Story] = {
    "a deleted object is gone, and the answer names it": (
        _A,
        Ask(
            f"DELETE {MAPS}/a",
            has={"kind": "Status", "status": "Success", "details.name": "a", "details.kind": "configmaps"},
        ),
        Ask(f"GET {MAPS}/a", 404, "NotFound"),
        Ask(f"DELETE {MAPS}/a", 404, "NotFound", has={"details.name": "a", "details.kind": "configmaps"}),
    ),
    "a deletion can demand which object it means": (
        _A,
        Ask(f"DELETE {MAPS}/a", 409, "Conflict", body={"preconditions": {"uid": "another"}}),
        Ask(f"DELETE {MAPS}/a", 409, "Conflict", body={"preconditions": {"resourceVersion": "1"}}),
        Ask(f"DELETE {MAPS}/a", body={"preconditions": {"uid": "{uid}", "resourceVersion": "{rv}"}}),
    ),
    "an object with finalizers waits until they are taken away": (
        Ask(f"POST {MAPS}", 201, body=_held("a", "sky.dev/hold")),
        Ask(f"DELETE {MAPS}/a", has={"kind": "ConfigMap", "metadata.deletionGracePeriodSeconds": 0}),
        Ask(f"DELETE {MAPS}/a", has={"kind": "ConfigMap"}),
        Ask(f"GET {MAPS}/a", has={"metadata.finalizers": ["sky.dev/hold"]}),
        Ask(f"POST {MAPS}", 409, "AlreadyExists", body=config_map("a")),
        patch(
            MERGE,
            f"{MAPS}/a",
            {"metadata": {"finalizers": ["sky.dev/hold", "sky.dev/more"]}},
            code=422,
            reason="Invalid",
            causes={"metadata.finalizers": "FieldValueForbidden"},
        ),
        patch(MERGE, f"{MAPS}/a", {"data": {"still": "writable"}}, has={"data.still": "writable"}),
        patch(MERGE, f"{MAPS}/a", {"metadata": {"finalizers": None}}, has={"kind": "ConfigMap"}),
        Ask(f"GET {MAPS}/a", 404, "NotFound"),
    ),
    "the propagation is remembered as a finalizer": (
        Ask(f"POST {DEPLOYMENTS}", 201, body=deployment("web"), differs="defaults"),
        Ask(
            f"DELETE {DEPLOYMENTS}/web?propagationPolicy=Foreground",
            has={"metadata.finalizers": ["foregroundDeletion"]},
            differs="defaults",
        ),
        _A,
        Ask(f"DELETE {MAPS}/a", body={"propagationPolicy": "Orphan"}, has={"metadata.finalizers": ["orphan"]}),
        Ask(f"POST {MAPS}", 201, body=config_map("b")),
        Ask(f"DELETE {MAPS}/b", body={"propagationPolicy": "Background"}, has={"status": "Success"}),
    ),
    "options that do not exist, or contradict each other, are invalid": (
        _A,
        Ask(
            f"DELETE {MAPS}/a?propagationPolicy=Sideways",
            422,
            "Invalid",
            causes={"propagationPolicy": NOT_SUPPORTED},
            has={"details.group": "meta.k8s.io", "details.kind": "DeleteOptions"},
        ),
        Ask(
            f"DELETE {MAPS}/a",
            422,
            "Invalid",
            body={"orphanDependents": True, "propagationPolicy": "Orphan"},
            causes={"propagationPolicy": "FieldValueInvalid"},
        ),
        Ask(f"DELETE {MAPS}/a", 422, "Invalid", body={"dryRun": ["Some"]}, causes={"dryRun": NOT_SUPPORTED}),
        Ask(f"DELETE {MAPS}/a", 400, "BadRequest", body="{"),
        Ask(f"DELETE {MAPS}/a", body={"dryRun": ["All"]}),
        Ask(f"GET {MAPS}/a"),
    ),
    "a collection is deleted as it is selected": (
        Ask(f"POST {MAPS}", 201, body={**config_map("a"), "metadata": {"name": "a", "labels": {"l": "1"}}}),
        Ask(f"POST {MAPS}", 201, body={**config_map("b"), "metadata": {"name": "b", "labels": {"l": "2"}}}),
        Ask(f"POST {MAPS}", 201, body={**_held("c", "sky.dev/hold")}),
        Ask(f"DELETE {MAPS}?labelSelector=l%3D1&dryRun=All", has={"kind": "ConfigMapList", "items.#": 1}),
        Ask(f"GET {MAPS}", has={"items.#": 3}),
        Ask(f"DELETE {MAPS}?labelSelector=l%3D1", has={"items.#": 1, "items.0.metadata.name": "a"}),
        Ask(f"DELETE {MAPS}?fieldSelector=metadata.name%3Dno", has={"items.#": 0}),
        Ask(f"DELETE {MAPS}", has={"items.#": 2}),
        Ask(f"GET {MAPS}", has={"items.#": 1, "items.0.metadata.name": "c"}),
        Ask(f"DELETE {MAPS}?propagationPolicy=Sideways", 422, "Invalid", causes={"propagationPolicy": NOT_SUPPORTED}),
    ),
}
