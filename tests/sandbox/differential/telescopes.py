"""The custom resource that the stories use beside Kubernetes' own kinds."""

from sandbox.differential.asking import Json

_SPEC: Json = {
    "type": "object",
    "required": ["mirror"],
    "properties": {
        "mirror": {"type": "integer", "minimum": 1, "description": "Diameter of the main mirror in metres."},
        "mount": {"type": "string", "default": "alt-az", "enum": ["alt-az", "equatorial"]},
        "filters": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "cameras": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "pixels": {"type": "integer"}},
            },
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    },
}
_CONDITIONS: Json = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["type", "status"],
        "properties": {"type": {"type": "string"}, "status": {"type": "string"}, "reason": {"type": "string"}},
    },
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
}
_STATUS: Json = {"type": "object", "properties": {"phase": {"type": "string"}, "conditions": _CONDITIONS}}
_SCHEMA: Json = {
    "type": "object",
    "description": "Telescope is an instrument that watches the sky.",
    "properties": {"spec": {**_SPEC, "description": "What the telescope should be."}, "status": _STATUS},
}
DEFINITION: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "telescopes.sky.dev"},
    "spec": {
        "group": "sky.dev",
        "scope": "Namespaced",
        "names": {"plural": "telescopes", "singular": "telescope", "kind": "Telescope", "shortNames": ["tel"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": _SCHEMA},
                "additionalPrinterColumns": [
                    {"name": "Mirror", "type": "integer", "jsonPath": ".spec.mirror"},
                    {"name": "Mount", "type": "string", "jsonPath": ".spec.mount", "priority": 1},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
            }
        ],
    },
}
