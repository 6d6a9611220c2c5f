"""Discovery documents: which groups, versions and resources the server has, in the legacy and the aggregated form.

Owns these documents; pure. Source: Kubernetes documentation "API Discovery"; apidiscovery.k8s.io/v2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from atoll.kubeapi.resource import ResourceType

_VERSION = re.compile(r"^v(?P<major>[1-9]\d*)(?:(?P<stability>alpha|beta)(?P<minor>[1-9]\d*))?$")
_SUBRESOURCE_VERBS = ("get", "patch", "update")
AGGREGATED_TYPE = "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"


def subresources(rt: ResourceType) -> tuple[str, ...]:
    """Return the subresources that the machinery itself serves for a type."""
    return (*(("status",) if rt.has_status else ()), *(("scale",) if rt.scale else ()))


def api_versions() -> dict[str, Any]:
    """Return `/api`."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group_list(types: Sequence[ResourceType]) -> dict[str, Any]:
    """Return `/apis`."""
    groups = [_group(name, versions) for name, versions in _versions(types).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(types: Sequence[ResourceType], name: str) -> dict[str, Any] | None:
    """Return `/apis/GROUP`, or None if there is no such group."""
    versions = _versions(types).get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if name and versions else None


def resource_list(types: Sequence[ResourceType], name: str, version: str) -> dict[str, Any] | None:
    """Return `/api/VERSION` or `/apis/GROUP/VERSION`, or None if there is no such version."""
    found = [rt for rt in types if (rt.group, rt.version) == (name, version)]
    if not found and (name, version) != ("", "v1"):
        return None
    resources = [entry for rt in found for entry in _resources(rt)]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{name}/{version}" if name else version,
        "resources": sorted(resources, key=lambda entry: str(entry["name"])),
    }


def aggregated(types: Sequence[ResourceType], *, core: bool, version: str) -> dict[str, Any]:
    """Return the APIGroupDiscoveryList of `/api` (core) or `/apis`."""
    items = []
    for name, versions in _versions(types).items():
        if (not name) is core:
            described = [_aggregated_version(types, name, each) for each in versions]
            items.append({"metadata": {"name": name, "creationTimestamp": None}, "versions": described})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _versions(types: Sequence[ResourceType]) -> dict[str, list[str]]:
    versions: dict[str, list[str]] = {}
    for rt in types:
        known = versions.setdefault(rt.group, [])
        if rt.version not in known:
            known.append(rt.version)
    return {group: sorted(names, key=version_priority) for group, names in versions.items()}


def version_priority(version: str) -> tuple[object, ...]:
    """Return a sort key that puts the version clients should prefer first: v2, v1, v2beta1, v1alpha1, then others."""
    match = _VERSION.match(version)
    if match is None:
        return (1, version)
    stability = {None: 0, "beta": 1, "alpha": 2}[match["stability"]]
    return (0, stability, -int(match["major"]), -int(match["minor"] or 0))


def _group(name: str, versions: Iterable[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resources(rt: ResourceType) -> Iterable[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": rt.plural,
        "singularName": rt.singular,
        "namespaced": rt.namespaced,
        "kind": rt.kind,
        "verbs": list(rt.verbs),
        "storageVersionHash": "",
    }
    if rt.short_names:
        entry["shortNames"] = list(rt.short_names)
    if rt.categories:
        entry["categories"] = list(rt.categories)
    yield entry
    for subresource in subresources(rt):
        yield {
            "name": f"{rt.plural}/{subresource}",
            "singularName": "",
            "namespaced": rt.namespaced,
            **_subresource_kind(rt, subresource),
            "verbs": list(_SUBRESOURCE_VERBS),
        }


def _subresource_kind(rt: ResourceType, subresource: str) -> dict[str, str]:
    if subresource == "scale":
        return {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    return {"kind": rt.kind}


def _aggregated_version(types: Sequence[ResourceType], name: str, version: str) -> dict[str, Any]:
    found = [rt for rt in types if (rt.group, rt.version) == (name, version)]
    return {"version": version, "freshness": "Current", "resources": [_aggregated_resource(rt) for rt in found]}


def _aggregated_resource(rt: ResourceType) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": rt.plural,
        "responseKind": {"group": rt.group, "version": rt.version, "kind": rt.kind},
        "scope": "Namespaced" if rt.namespaced else "Cluster",
        "singularResource": rt.singular,
        "verbs": list(rt.verbs),
    }
    if rt.short_names:
        entry["shortNames"] = list(rt.short_names)
    if rt.categories:
        entry["categories"] = list(rt.categories)
    below = [_aggregated_subresource(rt, subresource) for subresource in subresources(rt)]
    if below:
        entry["subresources"] = below
    return entry


def _aggregated_subresource(rt: ResourceType, subresource: str) -> dict[str, Any]:
    kind = {"group": rt.group, "version": rt.version, **_subresource_kind(rt, subresource)}
    return {"subresource": subresource, "responseKind": kind, "verbs": list(_SUBRESOURCE_VERBS)}
