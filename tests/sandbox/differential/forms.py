"""The forms of an answer: JSON, YAML, tables, metadata alone."""

from sandbox.differential.asking import (
    MAPS,
    PARTIAL,
    PARTIAL_LIST,
    TABLE,
    TELESCOPES,
    Ask,
    Story,
    config_map,
    telescope,
)

_A = Ask(f"POST {MAPS}", 201, body=config_map("a", x="1"))
_T = Ask(f"POST {TELESCOPES}", 201, body=telescope("t"))
_LATEST = "timeoutSeconds=1"

STORIES: dict[str, Story] = {
    "a table has rows of the kind's columns": (
        _A,
        _T,
        Ask(
            f"GET {TELESCOPES}",
            headers=TABLE,
            has={
                "kind": "Table",
                "apiVersion": "meta.k8s.io/v1",
                "columnDefinitions.#": 4,
                "columnDefinitions.0.name": "Name",
                "columnDefinitions.2.priority": 1,
                "rows.0.cells.0": "t",
                "rows.0.cells.1": 8,
                "rows.0.object.kind": "PartialObjectMetadata",
            },
            differs="columns",
        ),
        Ask(f"GET {MAPS}/a", headers=TABLE, has={"rows.#": 1, "rows.0.cells.0": "a"}, differs="columns"),
        Ask(f"GET {MAPS}?includeObject=None", headers=TABLE, has={"rows.0.object": None}, differs="columns"),
        Ask(f"GET {MAPS}?includeObject=Object", headers=TABLE, has={"rows.0.object.data.x": "1"}, differs="columns"),
        Ask(f"GET {MAPS}?includeObject=Half", 400, "BadRequest", headers=TABLE),
    ),
    "the metadata comes alone": (
        _A,
        Ask(
            f"GET {MAPS}/a", headers=PARTIAL, has={"kind": "PartialObjectMetadata", "metadata.name": "a", "data": None}
        ),
        Ask(
            f"GET {MAPS}",
            headers=PARTIAL_LIST,
            has={"kind": "PartialObjectMetadataList", "items.0.metadata.name": "a", "items.0.data": None},
        ),
    ),
    "watches have forms too": (
        _A,
        Ask(
            f"GET {MAPS}?watch=true&{_LATEST}",
            headers=TABLE,
            has={"0.type": "ADDED", "0.object.kind": "Table", "0.object.rows.#": 1},
            differs="columns",
        ),
        Ask(
            f"GET {MAPS}?watch=true&{_LATEST}",
            headers=PARTIAL,
            has={"0.object.kind": "PartialObjectMetadata", "0.object.data": None},
        ),
    ),
    "the first form that can be written is chosen": (
        _A,
        Ask(f"GET {MAPS}/a", headers={"accept": "application/vnd.unknown, application/json"}),
        Ask(f"GET {MAPS}/a", headers={"accept": "*/*"}),
        Ask(f"GET {MAPS}/a", 406, "NotAcceptable", headers={"accept": "text/html"}),
        Ask(
            f"GET {MAPS}/a",
            406,
            "NotAcceptable",
            headers={"accept": "application/vnd.kubernetes.protobuf"},
            differs="json-only",
        ),
    ),
    "a fault is told in the form of a Status": (
        Ask(f"GET {MAPS}/no", 404, "NotFound", headers=TABLE, has={"kind": "Status", "apiVersion": "v1", "code": 404}),
    ),
}
