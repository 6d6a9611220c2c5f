"""get and list: selectors, pages, and the rules for resourceVersion, resourceVersionMatch, limit and continue.

The rules are those of the page "Kubernetes API Concepts", "Resource versions" and "Retrieving large results sets in
chunks"; which combinations are refused, and with which cause, is apimachinery's ValidateListOptions.
"""

from sandbox.differential.asking import DEPLOYMENTS, MAPS, MERGE, TELESCOPES, Ask, Story, config_map, patch

FORBIDDEN, NOT_SUPPORTED = "FieldValueForbidden", "FieldValueNotSupported"
MATCH = "resourceVersionMatch"


def _labelled(name: str, tier: str) -> Ask:
    body = config_map(name)
    return Ask(f"POST {MAPS}", 201, body={**body, "metadata": {"name": name, "labels": {"tier": tier}}})


_THREE = (_labelled("a", "front"), _labelled("b", "back"), _labelled("c", "front"))

SELECTING: dict[str, Story] = {
    "labels select": (
        *_THREE,
        Ask(f"GET {MAPS}?labelSelector=tier%3Dfront", has={"items.#": 2, "items.1.metadata.name": "c"}),
        Ask(f"GET {MAPS}?labelSelector=tier!%3Dfront", has={"items.#": 1}),
        Ask(f"GET {MAPS}?labelSelector=tier%20in%20(front,back)", has={"items.#": 3}),
        Ask(f"GET {MAPS}?labelSelector=tier%20notin%20(front)", has={"items.#": 1}),
        Ask(f"GET {MAPS}?labelSelector=!tier", has={"items.#": 0}),
        Ask(f"GET {MAPS}?labelSelector=tier", has={"items.#": 3}),
        Ask(f"GET {MAPS}?labelSelector=tier%20near%20(front)", 400, "BadRequest"),
        Ask(f"GET {MAPS}?labelSelector=tier%3D%21", 400, "BadRequest"),
    ),
    "names select as fields": (
        *_THREE,
        Ask(f"GET {MAPS}?fieldSelector=metadata.name%3Db", has={"items.#": 1, "items.0.metadata.name": "b"}),
        Ask(f"GET {MAPS}?fieldSelector=metadata.name!%3Db", has={"items.#": 2}),
        Ask(f"GET {MAPS}?fieldSelector=metadata.name%3Db&labelSelector=tier%3Dfront", has={"items.#": 0}),
        Ask(f"GET {MAPS}?fieldSelector=metadata.namespace%3D{{ns}}", has={"items.#": 3}),
        Ask(f"GET {MAPS}?fieldSelector=data.x%3Db", has={"items.#": 0}, differs="any-field"),
        Ask(f"GET {MAPS}?fieldSelector=nonsense", 400, "BadRequest"),
    ),
    "what is not there is not found and named": (
        Ask(f"GET {MAPS}/no", 404, "NotFound", has={"details.name": "no", "details.kind": "configmaps"}),
        Ask(f"GET {DEPLOYMENTS}/no", 404, "NotFound", has={"details.group": "apps", "details.kind": "deployments"}),
        Ask(f"GET {TELESCOPES}/no", 404, "NotFound", has={"message": 'telescopes.sky.dev "no" not found'}),
        Ask("GET /api/v1/namespaces/never-made/configmaps", has={"items.#": 0}),
    ),
}

PAGES: dict[str, Story] = {
    "pages make one list": (
        *_THREE,
        Ask(
            f"GET {MAPS}?limit=2",
            has={"items.#": 2, "metadata.remainingItemCount": 1},
            keep={"next": "metadata.continue", "rv": "metadata.resourceVersion"},
        ),
        Ask(f"DELETE {MAPS}/c"),
        Ask(f"GET {MAPS}?limit=2&continue={{next}}", has={"items.#": 1, "items.0.metadata.name": "c"}),
        Ask(f"GET {MAPS}?continue={{next}}", has={"items.#": 1, "metadata.continue": None}),
    ),
    "with a selector nobody knows how many remain": (
        *_THREE,
        Ask(
            f"GET {MAPS}?limit=1&labelSelector=tier%3Dfront",
            has={"items.#": 1, "metadata.remainingItemCount": None},
            keep={"next": "metadata.continue"},
        ),
        Ask(
            f"GET {MAPS}?limit=1&labelSelector=tier%3Dfront&continue={{next}}",
            has={"items.#": 1, "items.0.metadata.name": "c"},
        ),
    ),
    "a token goes with no version of its own": (
        *_THREE,
        Ask(f"GET {MAPS}?limit=1", keep={"next": "metadata.continue", "rv": "metadata.resourceVersion"}),
        Ask(f"GET {MAPS}?limit=1&continue={{next}}&resourceVersion={{rv}}", 400, "BadRequest"),
        Ask(f"GET {MAPS}?limit=1&continue={{next}}&resourceVersion=0", has={"items.#": 1}),
        Ask(
            f"GET {MAPS}?limit=1&continue={{next}}&resourceVersion={{rv}}&{MATCH}=Exact",
            422,
            "Invalid",
            causes={MATCH: FORBIDDEN},
        ),
    ),
    "a token that the server did not give is refused": (
        Ask(f"GET {MAPS}?limit=1&continue=bm9uc2Vuc2U", 400, "BadRequest"),
        Ask(f"GET {MAPS}?limit=1&continue=%21%21", 400, "BadRequest"),
        Ask(f"GET {MAPS}?limit=many", 400, "BadRequest"),
    ),
}

_CHANGED = (
    Ask(f"POST {MAPS}", 201, body=config_map("a", x="1"), keep={"first": "metadata.resourceVersion"}),
    patch(MERGE, f"{MAPS}/a", {"data": {"x": "2"}}, keep={"second": "metadata.resourceVersion"}),
    Ask(f"POST {MAPS}", 201, body=config_map("b")),
)

VERSIONS: dict[str, Story] = {
    "a list without a version is of the newest state": (
        *_CHANGED,
        Ask(f"GET {MAPS}", has={"items.#": 2, "items.0.data.x": "2"}),
        Ask(f"GET {MAPS}?limit=1", has={"items.#": 1}),
    ),
    "a list may be of any version, or of one that is not older": (
        *_CHANGED,
        Ask(f"GET {MAPS}?resourceVersion={{second}}", has={"items.#": 2}),
        Ask(f"GET {MAPS}?resourceVersion={{first}}&{MATCH}=NotOlderThan", has={"items.#": 2, "items.0.data.x": "2"}),
        Ask(f"GET {MAPS}?resourceVersion={{first}}&{MATCH}=NotOlderThan&limit=1", has={"items.0.data.x": "2"}),
        Ask(f"GET {MAPS}?resourceVersion=0&{MATCH}=NotOlderThan"),
        Ask(f"GET {MAPS}?resourceVersion=0"),
    ),
    "a list may be of exactly one version": (
        *_CHANGED,
        Ask(
            f"GET {MAPS}?resourceVersion={{first}}&{MATCH}=Exact",
            has={"items.#": 1, "items.0.data.x": "1"},
        ),
        Ask(f"GET {MAPS}?resourceVersion={{second}}&{MATCH}=Exact&limit=1", has={"items.#": 1, "items.0.data.x": "2"}),
        Ask(f"GET {MAPS}?resourceVersion={{first}}&limit=5", has={"items.#": 1, "items.0.data.x": "1"}),
    ),
    "a match is refused where it makes no sense": (
        Ask(f"GET {MAPS}?{MATCH}=Exact", 422, "Invalid", causes={MATCH: FORBIDDEN}),
        Ask(f"GET {MAPS}?{MATCH}=NotOlderThan", 422, "Invalid", causes={MATCH: FORBIDDEN}),
        Ask(f"GET {MAPS}?resourceVersion=0&{MATCH}=Exact", 422, "Invalid", causes={MATCH: FORBIDDEN}),
        Ask(f"GET {MAPS}?resourceVersion=0&{MATCH}=Newest", 422, "Invalid", causes={MATCH: NOT_SUPPORTED}),
        Ask(f"GET {MAPS}?{MATCH}=Newest&continue=x", 422, "Invalid", has={"details.causes.#": 3}),
        Ask(
            f"GET {MAPS}?sendInitialEvents=true",
            422,
            "Invalid",
            causes={"sendInitialEvents": FORBIDDEN},
            has={"details.group": "meta.k8s.io", "details.kind": "ListOptions"},
        ),
    ),
    "a version that is no number, or of the future, is refused": (
        Ask(f"GET {MAPS}?resourceVersion=x", 400, "BadRequest"),
        Ask(
            f"GET {MAPS}?resourceVersion=4000000000",
            504,
            "Timeout",
            causes={"": "ResourceVersionTooLarge"},
            has={"details.retryAfterSeconds": 1},
        ),
    ),
    "an object is read as of now, or as of a version that is not older": (
        *_CHANGED,
        Ask(f"GET {MAPS}/a", has={"data.x": "2"}),
        Ask(f"GET {MAPS}/a?resourceVersion=0"),
        Ask(f"GET {MAPS}/a?resourceVersion={{first}}", has={"data.x": "2"}),
        Ask(f"GET {MAPS}/a?resourceVersion=4000000000", 504, "Timeout", causes={"": "ResourceVersionTooLarge"}),
    ),
}

FORGOTTEN: Story = (
    *_THREE,
    Ask(f"GET {MAPS}?limit=2", keep={"next": "metadata.continue", "rv": "metadata.resourceVersion"}),
    *(patch(MERGE, f"{MAPS}/c", {"data": {"x": str(number)}}) for number in range(8)),
    Ask(f"GET {MAPS}?resourceVersion={{rv}}&{MATCH}=Exact", 410, "Expired"),
    Ask(f"GET {MAPS}?resourceVersion={{rv}}", has={"items.#": 3}),
    Ask(f"GET {MAPS}?limit=2&continue={{next}}", 410, "Expired", keep={"inconsistent": "metadata.continue"}),
    Ask(f"GET {MAPS}?limit=2&continue={{inconsistent}}", has={"items.#": 1, "items.0.data.x": "7"}),
    Ask(
        f"GET {MAPS}?watch=true&resourceVersion={{rv}}&timeoutSeconds=1",
        has={"0.type": "ERROR", "0.object.code": 410, "0.object.reason": "Expired"},
    ),
)
"""A story for a server that remembers few changes."""

STORIES: dict[str, Story] = {**SELECTING, **PAGES, **VERSIONS}
