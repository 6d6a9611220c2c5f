"""Marks on compiled objects: whose they are, from which commit and file, and a hash of what they say. Pure."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

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


# What stamped manifests came to, by id() of what was stamped, which is held so that no other one gets its id().
StampMemory = dict[int, tuple[Manifest, Manifest]]
_NOTHING: Mapping[tuple[str, str, str], Mapping[str, Any]] = {}


def stamp(
    manifests: Iterable[Manifest],
    policyset: str,
    commit: str,
    *,
    standing: Mapping[tuple[str, str, str], Mapping[str, Any]] = _NOTHING,
    memory: StampMemory | None = None,
) -> tuple[Manifest, ...]:
    """Mark manifests with their policy set, commit, origin and content hash.

    An object that says the same as the one that stands, and comes from the same file, stays as it is: its commit and
    line are those of its last change, and nobody has to write it again.

    Args:
        manifests: what a cluster shall hold.
        policyset: the set's name.
        commit: the commit that they are of.
        standing: what the cluster is ordered to hold now, by `Manifest.key`.
        memory: of earlier calls for this cluster; it is added to.
    """
    known = {} if memory is None else memory
    for manifest in manifests:
        if id(manifest) not in known:
            stands = standing.get(manifest.key)
            known[id(manifest)] = manifest, _stamped(manifest, policyset, commit, stands)
    return tuple(known[id(manifest)][1] for manifest in manifests)


def standing_by_key(bodies: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    """Index objects as `Manifest.key` does; what is no object is left out."""
    found = {}
    for body in bodies:
        metadata = body.get("metadata")
        if isinstance(metadata, Mapping):
            found[str(body.get("kind")), str(metadata.get("namespace") or ""), str(metadata.get("name"))] = body
    return found


def file_of(body: Mapping[str, Any]) -> str:
    """Give the file that a stamped object was compiled from; empty if it bears no stamp."""
    return _stamps_of(body).get(ORIGIN_ANNOTATION, "").rpartition(":")[0]


def _stamps_of(body: Mapping[str, Any]) -> Mapping[str, str]:
    metadata = body.get("metadata")
    found = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    return found if isinstance(found, Mapping) else {}


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
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _stamped(manifest: Manifest, policyset: str, commit: str, stands: Mapping[str, Any] | None) -> Manifest:
    metadata: Mapping[str, Any] = manifest.body["metadata"]
    digest = manifest_hash(manifest)
    labels = {**(metadata.get("labels") or {}), POLICYSET_LABEL: policyset_label(policyset)}
    annotations = {
        **(metadata.get("annotations") or {}),
        COMMIT_ANNOTATION: commit,
        ORIGIN_ANNOTATION: str(manifest.origin),
        HASH_ANNOTATION: digest,
    }
    if stands is not None and file_of(stands) == manifest.origin.path:
        kept = {name: _stamps_of(stands).get(name, "") for name in (COMMIT_ANNOTATION, ORIGIN_ANNOTATION)}
        if _stamps_of(stands).get(HASH_ANNOTATION) == digest:
            annotations |= kept
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
