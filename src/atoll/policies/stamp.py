"""Marks on compiled objects: whose they are, from which commit and file, and a hash of what they say. Pure."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from atoll.policies.manifest import Manifest

# By this label an agent finds what it made and may prune.
POLICYSET_LABEL = "atoll.dev/policyset"
COMMIT_ANNOTATION = "atoll.dev/commit"
ORIGIN_ANNOTATION = "atoll.dev/origin"
HASH_ANNOTATION = "atoll.dev/content-hash"
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
    text = json.dumps({**manifest.body, "metadata": metadata}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _stamped(manifest: Manifest, policyset: str, commit: str) -> Manifest:
    metadata: Mapping[str, Any] = manifest.body["metadata"]
    labels = {**(metadata.get("labels") or {}), POLICYSET_LABEL: policyset_label(policyset)}
    annotations = {
        **(metadata.get("annotations") or {}),
        COMMIT_ANNOTATION: commit,
        ORIGIN_ANNOTATION: str(manifest.origin),
        HASH_ANNOTATION: manifest_hash(manifest),
    }
    body = {**manifest.body, "metadata": {**metadata, "labels": labels, "annotations": annotations}}
    return dataclasses.replace(manifest, body=body)
