"""The patches: JSON, merge, strategic merge and server-side apply."""

from sandbox.differential.asking import (
    APPLY,
    DEPLOYMENTS,
    JSON_PATCH,
    MAPS,
    MERGE,
    STRATEGIC,
    TELESCOPES,
    Ask,
    Json,
    Story,
    config_map,
    deployment,
    patch,
    telescope,
)

CONFLICT = "FieldManagerConflict"
_A = Ask(f"POST {MAPS}", 201, body=config_map("a", x="1", y="1"))
_WEB = Ask(f"POST {DEPLOYMENTS}", 201, body=deployment("web"), differs="defaults")


def _apply(manager: str, body: Json, *, force: bool = False, **expected: object) -> Ask:
    place = MAPS if body["kind"] == "ConfigMap" else TELESCOPES
    query = f"fieldManager={manager}" + ("&force=true" if force else "")
    return patch(APPLY, f"{place}/{body['metadata']['name']}?{query}", body, **expected)


PLAIN: dict[str, Story] = {
    "a JSON patch is carried out in order or not at all": (
        _A,
        patch(
            JSON_PATCH,
            f"{MAPS}/a",
            [
                {"op": "test", "path": "/data/x", "value": "1"},
                {"op": "replace", "path": "/data/x", "value": "2"},
                {"op": "remove", "path": "/data/y"},
                {"op": "add", "path": "/metadata/annotations", "value": {}},
                {"op": "add", "path": "/metadata/annotations/sky.dev~1note", "value": "c"},
            ],
            has={"data.x": "2", "data.y": None, "metadata.annotations.sky\\.dev/note": "c"},
        ),
        patch(
            JSON_PATCH,
            f"{MAPS}/a",
            [
                {"op": "replace", "path": "/data/x", "value": "9"},
                {"op": "test", "path": "/data/x", "value": "1"},
            ],
            code=422,
            reason="Invalid",
        ),
        patch(JSON_PATCH, f"{MAPS}/a", [{"op": "remove", "path": "/data/no"}], code=422, reason="Invalid"),
        patch(JSON_PATCH, f"{MAPS}/a", {"data": {}}, code=400, reason="BadRequest"),
        Ask(f"GET {MAPS}/a", has={"data.x": "2"}),
    ),
    "a merge patch sets, and removes by null": (
        _A,
        patch(MERGE, f"{MAPS}/a", {"data": {"x": None, "z": "3"}}, has={"data": {"y": "1", "z": "3"}}),
        patch(MERGE, f"{MAPS}/a", "{", code=400, reason="BadRequest"),
        patch(MERGE, f"{MAPS}/no", {}, code=404, reason="NotFound"),
    ),
    "a strategic merge patch merges lists by their keys": (
        _WEB,
        patch(
            STRATEGIC,
            f"{DEPLOYMENTS}/web",
            {"spec": {"template": {"spec": {"containers": [{"name": "proxy", "image": "proxy:1"}]}}}},
            has={"spec.template.spec.containers.#": 2},
            differs="defaults",
        ),
        patch(
            STRATEGIC,
            f"{DEPLOYMENTS}/web",
            {"spec": {"template": {"spec": {"containers": [{"name": "proxy", "$patch": "delete"}]}}}},
            has={"spec.template.spec.containers.#": 1, "spec.template.spec.containers.0.name": "main"},
            differs="defaults",
        ),
    ),
    "custom resources have no strategic merge patch": (
        Ask(f"POST {TELESCOPES}", 201, body=telescope("t")),
        patch(STRATEGIC, f"{TELESCOPES}/t", {"spec": {"mirror": 9}}, code=415, reason="UnsupportedMediaType"),
    ),
    "a patch of an unknown kind, or forced without need, is refused": (
        _A,
        patch("application/json", f"{MAPS}/a", {}, code=415, reason="UnsupportedMediaType"),
        patch(
            MERGE,
            f"{MAPS}/a?force=true",
            {},
            code=422,
            reason="Invalid",
            causes={"force": "FieldValueForbidden"},
            has={"details.group": "meta.k8s.io", "details.kind": "PatchOptions"},
        ),
        patch(
            MERGE, f"{MAPS}/a?dryRun=Some", {}, code=422, reason="Invalid", causes={"dryRun": "FieldValueNotSupported"}
        ),
    ),
}

APPLYING: dict[str, Story] = {
    "the first apply creates and an equal one changes nothing": (
        _apply("one", config_map("a", x="1"), code=201, has={"data.x": "1", "metadata.managedFields.#": 1}),
        _apply("one", config_map("a", x="1"), has={"metadata.managedFields.0.operation": "Apply"}),
    ),
    "what others set is a conflict until it is forced": (
        _apply("one", config_map("a", x="1", y="1"), code=201),
        _apply(
            "two",
            config_map("a", x="2", y="2"),
            code=409,
            reason="Conflict",
            causes={".data.x": CONFLICT, ".data.y": CONFLICT},
        ),
        _apply("two", config_map("a", x="1"), has={"data.x": "1"}),
        _apply("two", config_map("a", x="2"), force=True, has={"data.x": "2", "data.y": "1"}),
        _apply("one", config_map("a", x="1", y="1"), code=409, reason="Conflict", causes={".data.x": CONFLICT}),
    ),
    "what is no longer applied goes, unless somebody else owns it": (
        _apply("one", config_map("a", x="1", y="1"), code=201),
        _apply("two", config_map("a", y="1", z="1")),
        _apply("one", config_map("a"), has={"data.x": None, "data.y": "1", "data.z": "1"}),
    ),
    "lists are merged by the keys of the schema": (
        _apply("one", telescope("t", cameras=[{"name": "ccd", "pixels": 4}], filters=["r"]), code=201),
        _apply(
            "two",
            {**telescope("t"), "spec": {"cameras": [{"name": "ir", "pixels": 1}], "filters": ["g"]}},
            has={"spec.cameras.#": 2, "spec.filters": ["r", "g"]},
        ),
        _apply("one", telescope("t"), has={"spec.cameras.#": 1, "spec.cameras.0.name": "ir", "spec.filters": ["g"]}),
    ),
    "a plain write takes its fields over": (
        _apply("one", config_map("a", x="1"), code=201),
        patch(MERGE, f"{MAPS}/a?fieldManager=hand", {"data": {"x": "2"}}),
        _apply("one", config_map("a", x="1"), code=409, reason="Conflict", causes={".data.x": CONFLICT}),
    ),
    "an apply that cannot be is refused": (
        patch(
            APPLY,
            f"{MAPS}/a",
            config_map("a"),
            code=422,
            reason="Invalid",
            causes={"fieldManager": "FieldValueRequired"},
            has={"details.kind": "PatchOptions"},
        ),
        patch(
            APPLY,
            f"{MAPS}/a?fieldManager=one",
            {**config_map("a"), "metadata": {"name": "a", "managedFields": [{"manager": "x"}]}},
            code=400,
            reason="BadRequest",
        ),
        patch(APPLY, f"{MAPS}/b?fieldManager=one", config_map("a"), code=400, reason="BadRequest"),
        patch(APPLY, f"{MAPS}/a?fieldManager=one", "a: [", code=400, reason="BadRequest"),
        patch(
            APPLY,
            f"{MAPS}/a?fieldManager=one",
            {**config_map("a"), "metadata": {"name": "a", "uid": "another"}},
            code=409,
            reason="Conflict",
        ),
        patch(APPLY, f"{TELESCOPES}/t/status?fieldManager=one", telescope("t"), code=404, reason="NotFound"),
    ),
    "status and the rest are applied apart": (
        _apply("one", telescope("t"), code=201),
        patch(
            APPLY,
            f"{TELESCOPES}/t/status?fieldManager=two",
            {**telescope("t", mirror=99), "status": {"phase": "Ready"}},
            has={"spec.mirror": 8, "status.phase": "Ready"},
        ),
        _apply("one", telescope("t", mirror=9), has={"spec.mirror": 9, "status.phase": "Ready"}),
    ),
}

STORIES: dict[str, Story] = {**PLAIN, **APPLYING}
