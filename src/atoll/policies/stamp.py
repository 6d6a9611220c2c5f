"""Marks on compiled objects: whose they are, from which commit and file, and a hash of what they say. Pure."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from atoll.policies.manifest import CILIUM_POLICIES, Manifest
from atoll.policies.validation.cilium_rules import rules_of

# By this label an agent finds what it made and may prune.
POLICYSET_LABEL = "atoll.dev/policyset"
COMMIT_ANNOTATION = "atoll.dev/commit"
ORIGIN_ANNOTATION = "atoll.dev/origin"
HASH_ANNOTATION = "atoll.dev/content-hash"
# A label of a Cilium rule, which the engine carries to what it realizes: by it a node shows which content it enforces.
# NetworkPolicy and ClusterNetworkPolicy have no such place.
CONTENT_LABEL = "atoll.dev/content"
_CONTENT_DIGITS = 16
_STAMPS = frozenset({POLICYSET_LABEL, COMMIT_ANNOTATION, ORIGIN_ANNOTATION, HASH_ANNOTATION})
_LONGEST_LABEL_VALUE = 63


def stamp(manifests: Iterable[Manifest], policyset: str, commit: str) -> tuple[Manifest, ...]:
    """Mark manifests with their policy set, commit, origin and content hash."""
    return tuple(_stamped(manifest, policyset, commit) for manifest in manifests)


def policyset_label(policyset: str) -> str:
    """Give the label value of a policy set: its name, shortened with a hash if it is longer than a label may be."""
    if len(policyset) <= _LONGEST_LABEL_VALUE:
        return policyset
    digest = hashlib.sha256(policyset.encode()).hexdigest()[:10]
    return f"{policyset[: _LONGEST_LABEL_VALUE - 11]}-{digest}"


def manifest_hash(manifest: Manifest) -> str:
    """Hash what a manifest says (SHA-256, hex). Stamps do not count: the same policy in a new commit keeps its hash."""
    metadata = dict(manifest.body["metadata"])
    for name in ("labels", "annotations"):
        own = {key: value for key, value in (metadata.get(name) or {}).items() if key not in _STAMPS}
        metadata.pop(name, None)
        if own:
            metadata[name] = own
    body = _relabelled(manifest.kind, {**manifest.body, "metadata": metadata}, None)
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _stamped(manifest: Manifest, policyset: str, commit: str) -> Manifest:
    metadata: Mapping[str, Any] = manifest.body["metadata"]
    digest = manifest_hash(manifest)
    labels = {**(metadata.get("labels") or {}), POLICYSET_LABEL: policyset_label(policyset)}
    annotations = {
        **(metadata.get("annotations") or {}),
        COMMIT_ANNOTATION: commit,
        ORIGIN_ANNOTATION: str(manifest.origin),
        HASH_ANNOTATION: digest,
    }
    body = {**manifest.body, "metadata": {**metadata, "labels": labels, "annotations": annotations}}
    return dataclasses.replace(manifest, body=_relabelled(manifest.kind, body, digest[:_CONTENT_DIGITS]))


def content_of(manifest: Manifest) -> str:
    """Give the content that the rules of a stamped manifest bear as a label; empty if its kind can bear none."""
    if manifest.kind not in CILIUM_POLICIES:
        return ""
    labels = (label for _, rule in rules_of(manifest.body) for label in rule.get("labels") or ())
    return next((str(label["value"]) for label in labels if label["key"] == CONTENT_LABEL), "")


def _relabelled(kind: str, body: Mapping[str, Any], content: str | None) -> dict[str, Any]:
    """Give a body whose Cilium rules bear a content label, or with None none."""
    changed = dict(body)
    if kind in CILIUM_POLICIES:
        if isinstance(body.get("spec"), Mapping):
            changed["spec"] = _labelled(body["spec"], content)
        if body.get("specs"):
            changed["specs"] = [_labelled(rule, content) for rule in body["specs"]]
    return changed


def _labelled(rule: Mapping[str, Any], content: str | None) -> dict[str, Any]:
    labels = [label for label in rule.get("labels") or () if label["key"] != CONTENT_LABEL]
    if content is not None:
        labels.append({"source": "unspec", "key": CONTENT_LABEL, "value": content})
    rest = {name: value for name, value in rule.items() if name != "labels"}
    return {**rest, "labels": labels} if labels else rest
