"""A container's environment, command and arguments out of its spec.

Owns $(VAR) expansion, envFrom and valueFrom; must not read objects: what is referred to is handed in. Pure.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][-.A-Za-z0-9_]*)\)")
_MAP_FIELD = re.compile(r"^metadata\.(labels|annotations)\['([^']+)'\]$")
_VALID_NAME = re.compile(r"^[-._A-Za-z][-._A-Za-z0-9]*$")


class ConfigurationError(Exception):
    """A container refers to something that does not exist; it may come to exist."""


@dataclass(frozen=True)
class Sources:
    """The ConfigMaps and Secrets of the pod's namespace that its containers refer to, by name, as plain text."""

    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def plain(obj: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the data of a ConfigMap or a Secret as bytes."""
    encoded = obj.get("binaryData") if obj["kind"] == "ConfigMap" else obj.get("data")
    values = {key: base64.b64decode(value) for key, value in (encoded or {}).items()}
    if obj["kind"] == "ConfigMap":
        values.update({key: value.encode() for key, value in (obj.get("data") or {}).items()})
    return values


def references(container: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (kind, name) of every ConfigMap and Secret that the environment refers to."""
    for source in container.get("envFrom", ()):
        for kind in ("configMap", "secret"):
            if f"{kind}Ref" in source:
                yield kind, source[f"{kind}Ref"]["name"]
    for variable in container.get("env", ()):
        for kind in ("configMap", "secret"):
            reference = (variable.get("valueFrom") or {}).get(f"{kind}KeyRef")
            if reference:
                yield kind, reference["name"]


def environment(
    container: Mapping[str, Any], pod: Mapping[str, Any], sources: Sources, *, base: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment: `base`, then envFrom, then env in its order. Raises ConfigurationError."""
    env = dict(base)
    for source in container.get("envFrom", ()):
        prefix = source.get("prefix", "")
        for key, value in _whole(source, sources).items():
            if _VALID_NAME.match(prefix + key):
                env[prefix + key] = value
    for variable in container.get("env", ()):
        if "valueFrom" in variable:
            found = _value(variable["valueFrom"], pod, container, sources)
            if found is not None:
                env[variable["name"]] = found
        else:
            env[variable["name"]] = expand(variable.get("value", ""), env)
    return env


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace $(NAME) by its value; `$$` is a dollar sign, and an unknown name stays as it is written."""

    def replaced(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match[1], match[0])

    return _REFERENCE.sub(replaced, text)


def command(container: Mapping[str, Any], env: Mapping[str, str]) -> list[str]:
    """Return argv. Raises ConfigurationError without a command: there is no image to take one from."""
    if not container.get("command"):
        raise ConfigurationError(
            f"container {container['name']!r} has no command: the sandbox runs processes, not images, "
            "so set command in its spec"
        )
    words: Sequence[str] = [*container["command"], *container.get("args", ())]
    return [expand(word, env) for word in words]


def _whole(source: Mapping[str, Any], sources: Sources) -> Mapping[str, str]:
    reference = source.get("configMapRef") or source.get("secretRef") or {}
    kind, held = ("configmap", sources.config_maps) if "configMapRef" in source else ("secret", sources.secrets)
    found = held.get(reference.get("name", ""))
    if found is None and not reference.get("optional"):
        raise ConfigurationError(f'{kind} "{reference.get("name", "")}" not found')
    return found or {}


def _value(
    wanted: Mapping[str, Any], pod: Mapping[str, Any], container: Mapping[str, Any], sources: Sources
) -> str | None:
    if "fieldRef" in wanted:
        return pod_field(pod, wanted["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in wanted:
        limits = container.get("resources", {}).get("limits", {})
        name = str(wanted["resourceFieldRef"].get("resource", "")).removeprefix("limits.")
        return str(limits.get(name, "0"))
    kind, held = ("configMap", sources.config_maps) if "configMapKeyRef" in wanted else ("secret", sources.secrets)
    reference = wanted.get(f"{kind}KeyRef", {})
    found = held.get(reference.get("name", ""), {}).get(reference.get("key", ""))
    if found is None and not reference.get("optional"):
        name, key = reference.get("name"), reference.get("key")
        raise ConfigurationError(f'couldn\'t find key "{key}" in {kind} "{name}"')
    return found


def pod_field(pod: Mapping[str, Any], path: str) -> str:
    """Return what a fieldRef means. Raises ConfigurationError for a path that the downward API does not have."""
    if match := _MAP_FIELD.match(path):
        return str((pod["metadata"].get(match[1]) or {}).get(match[2], ""))
    if path not in _FIELDS:
        raise ConfigurationError(f'fieldPath "{path}" is not one of {", ".join(_FIELDS)}')
    section, name = path.split(".")
    if path in ("status.podIPs", "status.hostIPs"):
        name = name.removesuffix("s")
    return str(pod.get(section, {}).get(name, ""))


_FIELDS = (
    *("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName"),
    *("status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs"),
)
