"""Discovery, documents and health: what a client asks before it asks for an object."""

from sandbox.differential.asking import DEPLOYMENTS, MAPS, TELESCOPES, Ask, Story

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"

STORIES: dict[str, Story] = {
    "the core group and the named groups are discovered": (
        Ask("GET /api", has={"kind": "APIVersions", "versions.0": "v1"}, differs="discovery"),
        Ask("GET /apis", has={"kind": "APIGroupList", "apiVersion": "v1"}, differs="discovery"),
        Ask("GET /apis/apps", has={"kind": "APIGroup", "name": "apps", "preferredVersion.groupVersion": "apps/v1"}),
        Ask("GET /api/v1", has={"kind": "APIResourceList", "groupVersion": "v1"}, differs="discovery"),
        Ask("GET /apis/apps/v1", has={"kind": "APIResourceList", "groupVersion": "apps/v1"}, differs="discovery"),
        Ask("GET /apis/sky.dev/v1", has={"groupVersion": "sky.dev/v1", "resources.0.name": "telescopes"}),
    ),
    "discovery is aggregated for those who ask": (
        Ask(
            "GET /apis",
            headers={"accept": _AGGREGATED},
            has={"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2"},
            differs="discovery",
        ),
        Ask("GET /api", headers={"accept": _AGGREGATED}, has={"items.0.versions.0.version": "v1"}, differs="discovery"),
    ),
    "documents and health are served": (
        Ask("GET /version", has={"major": "1"}, differs="discovery"),
        Ask("GET /openapi/v2", has={"swagger": "2.0"}, differs="discovery"),
        Ask("GET /openapi/v3", differs="discovery"),
        Ask("GET /openapi/v3/apis/apps/v1", has={"openapi": "3.0.0"}, differs="discovery"),
        Ask("GET /healthz"),
        Ask("GET /livez"),
        Ask("GET /readyz"),
    ),
    "what is not served is not found": (
        Ask("GET /apis/nothing.dev", 404, "NotFound", differs="plain-404"),
        Ask("GET /apis/nothing.dev/v1/things", 404, "NotFound", differs="plain-404"),
        Ask("GET /nowhere", 404, "NotFound", differs="plain-404"),
        Ask("GET /apis/apps/v9", 404, "NotFound", differs="plain-404"),
        Ask("GET /api/v1/nothings", 404, "NotFound"),
        Ask(f"GET {MAPS}/a/status", 404, "NotFound"),
        Ask(f"GET {MAPS}/a/nothing", 404, "NotFound"),
        Ask("GET /api/v1/namespaces/{ns}/nodes", 404, "NotFound"),
    ),
    "a method that a resource does not have is refused": (
        Ask(f"PUT {MAPS}", 405, "MethodNotAllowed", body={}),
        Ask(f"PATCH {MAPS}", 405, "MethodNotAllowed", body={}),
        Ask(f"POST {MAPS}/a", 405, "MethodNotAllowed", body={}),
        Ask("POST /api/v1/configmaps", 405, "MethodNotAllowed", body={}),
        Ask("DELETE /api/v1/configmaps", 405, "MethodNotAllowed"),
        Ask(f"POST {DEPLOYMENTS}/a/status", 405, "MethodNotAllowed", body={}),
        Ask(f"DELETE {DEPLOYMENTS}/a/scale", 405, "MethodNotAllowed"),
        Ask(f"POST {TELESCOPES}/a", 405, "MethodNotAllowed", body={}),
    ),
}
