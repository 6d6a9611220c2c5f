"""update, and the endpoints beside an object: its status and its scale."""

from sandbox.differential.asking import (
    DEPLOYMENTS,
    MAPS,
    MERGE,
    TELESCOPES,
    Ask,
    Story,
    config_map,
    deployment,
    patch,
    telescope,
)

INVALID, REQUIRED = "FieldValueInvalid", "FieldValueRequired"
_A = Ask(f"POST {MAPS}", 201, body=config_map("a", x="1"), keep={"rv": "metadata.resourceVersion"})

UPDATING: dict[str, Story] = {
    "an update made from an old version is a conflict": (
        _A,
        patch(MERGE, f"{MAPS}/a", {"data": {"x": "2"}}),
        Ask(
            f"PUT {MAPS}/a",
            409,
            "Conflict",
            body={"metadata": {"name": "a", "resourceVersion": "{rv}"}, "data": {"x": "3"}},
            has={"details.name": "a", "details.kind": "configmaps"},
        ),
        Ask(f"PUT {MAPS}/a", body=config_map("a", x="4"), has={"data.x": "4"}),
        patch(MERGE, f"{MAPS}/a", {"metadata": {"resourceVersion": "{rv}"}}, code=409, reason="Conflict"),
    ),
    "a custom resource is updated only from a version": (
        Ask(f"POST {TELESCOPES}", 201, body=telescope("t")),
        Ask(
            f"PUT {TELESCOPES}/t",
            422,
            "Invalid",
            body=telescope("t", mirror=9),
            causes={"metadata.resourceVersion": INVALID},
        ),
    ),
    "an update is of the object on the path": (
        _A,
        Ask(f"PUT {MAPS}/a", 400, "BadRequest", body=config_map("b")),
        Ask(f"PUT {MAPS}/a", 400, "BadRequest", body={"metadata": {"name": "a", "namespace": "elsewhere"}}),
        Ask(f"PUT {MAPS}/b", 404, "NotFound", body=config_map("b")),
        Ask(f"PUT {MAPS}/a", 409, "Conflict", body={"metadata": {"name": "a", "uid": "another"}}),
    ),
    "what the server sets stays, whatever is sent": (
        Ask(f"POST {TELESCOPES}", 201, body=telescope("t"), keep={"uid": "metadata.uid"}),
        patch(
            MERGE,
            f"{TELESCOPES}/t",
            {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 9}},
            has={"metadata.generation": 1},
        ),
        patch(MERGE, f"{TELESCOPES}/t", {"metadata": {"name": "u"}}, code=400, reason="BadRequest"),
    ),
    "the generation counts changes of the intent": (
        Ask(f"POST {TELESCOPES}", 201, body=telescope("t"), has={"metadata.generation": 1}),
        patch(MERGE, f"{TELESCOPES}/t", {"spec": {"mirror": 9}}, has={"metadata.generation": 2}),
        patch(MERGE, f"{TELESCOPES}/t", {"metadata": {"labels": {"a": "b"}}}, has={"metadata.generation": 2}),
        patch(MERGE, f"{TELESCOPES}/t/status", {"status": {"phase": "Ready"}}, has={"metadata.generation": 2}),
    ),
    "a write that changes nothing keeps the version": (
        _A,
        patch(MERGE, f"{MAPS}/a", {"data": {"x": "1"}}),
        Ask(f"PUT {MAPS}/a", body={"metadata": {"name": "a", "resourceVersion": "{rv}"}, "data": {"x": "2"}}),
    ),
    "owners and finalizers are checked": (
        Ask(
            f"POST {MAPS}",
            422,
            "Invalid",
            body={"metadata": {"name": "a", "ownerReferences": [{"kind": "Pod", "apiVersion": "v1", "name": "p"}]}},
            causes={"metadata.ownerReferences[0].uid": REQUIRED},
            differs="wrong-type",
        ),
    ),
}

SUBRESOURCES: dict[str, Story] = {
    "the status is written apart from the rest": (
        Ask(
            f"POST {TELESCOPES}",
            201,
            body={**telescope("t"), "status": {"phase": "Early"}},
            has={"status": None},
            keep={"rv": "metadata.resourceVersion"},
        ),
        Ask(
            f"PUT {TELESCOPES}/t/status",
            body={
                **telescope("t", mirror=99),
                "metadata": {"name": "t", "resourceVersion": "{rv}", "labels": {"a": "b"}},
                "status": {"phase": "Ready"},
            },
            has={"spec.mirror": 8, "status.phase": "Ready", "metadata.labels": None},
        ),
        patch(
            MERGE,
            f"{TELESCOPES}/t",
            {"spec": {"mirror": 9}, "status": {"phase": "Lost"}},
            has={"spec.mirror": 9, "status.phase": "Ready"},
        ),
        Ask(f"GET {TELESCOPES}/t/status", has={"kind": "Telescope", "status.phase": "Ready"}),
        Ask(f"PUT {TELESCOPES}/no/status", 404, "NotFound", body=telescope("no")),
    ),
    "the scale is a view of the replicas": (
        Ask(f"POST {DEPLOYMENTS}", 201, body=deployment("web", replicas=2), differs="defaults"),
        Ask(
            f"GET {DEPLOYMENTS}/web/scale",
            has={"kind": "Scale", "apiVersion": "autoscaling/v1", "spec.replicas": 2, "status.selector": "app=web"},
            keep={"rv": "metadata.resourceVersion"},
        ),
        patch(MERGE, f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 3}}, has={"spec.replicas": 3}),
        Ask(f"GET {DEPLOYMENTS}/web", has={"spec.replicas": 3, "metadata.generation": 2}, differs="defaults"),
        Ask(
            f"PUT {DEPLOYMENTS}/web/scale",
            409,
            "Conflict",
            body={"metadata": {"name": "web", "resourceVersion": "{rv}"}, "spec": {"replicas": 4}},
        ),
        patch(
            MERGE,
            f"{DEPLOYMENTS}/web/scale",
            {"spec": {"replicas": -1}},
            code=422,
            reason="Invalid",
            causes={"spec.replicas": INVALID},
        ),
        Ask(f"GET {DEPLOYMENTS}/no/scale", 404, "NotFound"),
        Ask(f"GET {MAPS}/a/scale", 404, "NotFound"),
    ),
}

STORIES: dict[str, Story] = {**UPDATING, **SUBRESOURCES}
