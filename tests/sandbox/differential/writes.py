"""create, the options of writes, and what is refused: in the body, in the object, in the query."""

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

INVALID, REQUIRED, NOT_SUPPORTED = "FieldValueInvalid", "FieldValueRequired", "FieldValueNotSupported"
_A = Ask(f"POST {MAPS}", 201, body=config_map("a", x="1"), keep={"rv": "metadata.resourceVersion"})
_STRICT = "?fieldValidation=Strict"

CREATING: dict[str, Story] = {
    "an object is created once": (
        Ask(f"POST {MAPS}", 201, body=config_map("a", x="1"), has={"data.x": "1", "metadata.name": "a"}),
        Ask(
            f"POST {MAPS}",
            409,
            "AlreadyExists",
            body=config_map("a"),
            has={"details.name": "a", "details.kind": "configmaps", "message": 'configmaps "a" already exists'},
        ),
    ),
    "a name is generated": (
        Ask(
            f"POST {MAPS}",
            201,
            body={"metadata": {"generateName": "made-"}, "data": {"x": "1"}},
            has={"metadata.generateName": "made-"},
            keep={"name": "metadata.name"},
        ),
        Ask(f"GET {MAPS}/{{name}}", has={"data.x": "1"}),
        Ask(f"POST {MAPS}", 201, body={"metadata": {"generateName": "made-", "name": "chosen"}}),
        Ask(f"GET {MAPS}/chosen", has={"metadata.generateName": "made-"}),
    ),
    "an object without a name, or with an impossible one, is invalid": (
        Ask(f"POST {MAPS}", 422, "Invalid", body={"metadata": {}}, causes={"metadata.name": REQUIRED}),
        Ask(
            f"POST {MAPS}",
            422,
            "Invalid",
            body=config_map("Not Possible"),
            causes={"metadata.name": INVALID},
            has={"details.name": "Not Possible", "details.kind": "ConfigMap"},
        ),
        Ask(
            f"POST {MAPS}",
            422,
            "Invalid",
            body={"metadata": {"name": "a", "labels": {"-": "x"}, "annotations": {"a b": "x"}}},
            causes={"metadata.labels": INVALID, "metadata.annotations": INVALID},
        ),
    ),
    "all broken rules are named at once": (
        Ask(
            f"POST {DEPLOYMENTS}",
            422,
            "Invalid",
            body=deployment("web", replicas=-1, selector={"matchLabels": {"app": "other"}}),
            causes={"spec.replicas": INVALID, "spec.template.metadata.labels": INVALID},
            has={"details.kind": "Deployment", "details.group": "apps", "details.name": "web"},
        ),
        Ask(
            f"POST {TELESCOPES}",
            422,
            "Invalid",
            body=telescope("t", mirror=0, mount="fork", filters=["r", "r"]),
            causes={"spec.mirror": INVALID, "spec.mount": NOT_SUPPORTED, "spec.filters[1]": "FieldValueDuplicate"},
            differs="schema-422",
        ),
        Ask(f"GET {TELESCOPES}", has={"items.#": 0}),
    ),
    "what the schema wants is demanded and what it defaults is filled in": (
        Ask(
            f"POST {TELESCOPES}",
            422,
            "Invalid",
            body={"apiVersion": "sky.dev/v1", "kind": "Telescope", "metadata": {"name": "t"}, "spec": {}},
            causes={"spec.mirror": REQUIRED},
            differs="schema-422",
        ),
        Ask(f"POST {TELESCOPES}", 201, body=telescope("t"), has={"spec.mount": "alt-az", "metadata.generation": 1}),
        Ask(f"POST {MAPS}", 422, body={"metadata": {"name": "a"}, "data": {"x": 1}}, differs="wrong-type"),
    ),
    "the place of an object is the place of the request": (
        Ask(f"POST {MAPS}", 400, "BadRequest", body={"metadata": {"name": "a", "namespace": "elsewhere"}}),
        Ask(
            "POST /api/v1/namespaces/never-made/configmaps",
            404,
            "NotFound",
            body=config_map("a"),
            has={"details.name": "never-made", "details.kind": "namespaces"},
        ),
    ),
    "nothing new comes into a namespace that goes": (
        Ask("POST /api/v1/namespaces", 201, body={"metadata": {"name": "{ns}-x", "finalizers": ["sky.dev/hold"]}}),
        Ask("DELETE /api/v1/namespaces/{ns}-x", differs="defaults"),
        Ask(
            "POST /api/v1/namespaces/{ns}-x/configmaps",
            403,
            "Forbidden",
            body=config_map("a"),
            causes={"metadata.namespace": "NamespaceTerminating"},
            has={"details.name": "a", "details.kind": "configmaps"},
        ),
    ),
}

BODIES: dict[str, Story] = {
    "a body that cannot be read is refused": (
        Ask(f"POST {MAPS}", 400, "BadRequest", body='{"metadata": '),
        Ask(f"POST {MAPS}", 400, "BadRequest", body="[1, 2]"),
        Ask(f"POST {MAPS}", 400, "BadRequest", body=""),
        Ask(f"POST {MAPS}", 400, "BadRequest", body={**config_map("a"), "kind": "Secret"}),
        Ask(f"POST {MAPS}", 400, "BadRequest", body={**config_map("a"), "apiVersion": "v2"}),
        Ask(f"POST {MAPS}", 415, "UnsupportedMediaType", body="x", headers={"content-type": "text/plain"}),
        Ask(f"POST {MAPS}", 413, "RequestEntityTooLarge", body="x" * (3 * 1024 * 1024 + 1)),
    ),
    "yaml is read as json is": (
        Ask(
            f"POST {MAPS}",
            201,
            body="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {day: '2026-11-22'}\n",
            headers={"content-type": "application/yaml"},
            has={"data.day": "2026-11-22"},
        ),
    ),
    "unknown fields are refused, warned of, or dropped": (
        Ask(
            f"POST {DEPLOYMENTS}{_STRICT}",
            400,
            "BadRequest",
            body=deployment("web", replicaz=3),
            has={
                "message": 'Deployment in version "v1" cannot be handled as a Deployment: '
                'strict decoding error: unknown field "spec.replicaz"'
            },
        ),
        Ask(
            f"POST {DEPLOYMENTS}?fieldValidation=Warn",
            201,
            body=deployment("web", replicaz=3),
            has={"spec.replicaz": None, "warnings": ['299 - "unknown field \\"spec.replicaz\\""']},
            differs="defaults",
        ),
        Ask(
            f"POST {TELESCOPES}?fieldValidation=Ignore",
            201,
            body=telescope("t", lens=1),
            has={"spec.lens": None, "warnings": []},
        ),
        Ask(f"POST {TELESCOPES}{_STRICT}", 400, "BadRequest", body=telescope("u", lens=1)),
        Ask(
            f"POST {TELESCOPES}",
            201,
            body=telescope("u", lens=1),
            has={"warnings": ['299 - "unknown field \\"spec.lens\\""']},
        ),
    ),
    "a field that is given twice is refused or warned of": (
        Ask(
            f"POST {MAPS}{_STRICT}",
            400,
            "BadRequest",
            body='{"metadata": {"name": "a"}, "data": {"x": "1", "x": "2"}}',
        ),
        Ask(
            f"POST {MAPS}",
            201,
            body='{"metadata": {"name": "a"}, "data": {"x": "1", "x": "2"}}',
            has={"data.x": "2", "warnings": ['299 - "duplicate field \\"data.x\\""']},
        ),
    ),
    "options that do not exist are invalid": (
        Ask(
            f"POST {MAPS}?dryRun=Some",
            422,
            "Invalid",
            body=config_map("a"),
            causes={"dryRun": NOT_SUPPORTED},
            has={"details.group": "meta.k8s.io", "details.kind": "CreateOptions"},
        ),
        Ask(
            f"POST {MAPS}?fieldValidation=Sometimes",
            422,
            "Invalid",
            body=config_map("a"),
            causes={"fieldValidation": NOT_SUPPORTED},
        ),
        Ask(
            f"POST {MAPS}?fieldManager={'m' * 129}",
            422,
            "Invalid",
            body=config_map("a"),
            causes={"fieldManager": "FieldValueTooLong"},
        ),
        Ask(f"PUT {MAPS}/a?dryRun=Some", 422, "Invalid", body=config_map("a"), causes={"dryRun": NOT_SUPPORTED}),
        Ask(f"GET {MAPS}", has={"items.#": 0}),
    ),
    "a dry run answers and stores nothing": (
        Ask(f"POST {TELESCOPES}?dryRun=All", 201, body=telescope("t"), has={"spec.mount": "alt-az"}),
        Ask(f"GET {TELESCOPES}/t", 404, "NotFound"),
        _A,
        Ask(f"PUT {MAPS}/a?dryRun=All", body=config_map("a", x="2"), has={"data.x": "2"}),
        patch(MERGE, f"{MAPS}/a?dryRun=All", {"data": {"x": "3"}}, has={"data.x": "3"}),
        Ask(f"DELETE {MAPS}/a?dryRun=All"),
        Ask(f"GET {MAPS}/a", has={"data.x": "1"}),
        Ask(f"POST {MAPS}?dryRun=All", 409, "AlreadyExists", body=config_map("a")),
    ),
}

STORIES: dict[str, Story] = {**CREATING, **BODIES}
