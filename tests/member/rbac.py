"""RBAC as kube-apiserver evaluates it, over printed roles: which rule allowed what, and what none did.

Source: kubernetes/pkg/registry/rbac/validation, RuleAllows. Server-side apply that makes an object is authorized as
create too (apiserver/pkg/endpoints/handlers/patch.go).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from atoll.kubeapi.http.access import Action, Decision, Rule, User
from atoll.kubeapi.store import Store

Granted = tuple[str, str, str, str]
"""Namespace of the role (empty: a ClusterRole), API group, resource, verb."""


@dataclass
class Rbac:
    """kubeapi's Authorizer for one service account, which every caller is taken for."""

    store: Store
    roles: Sequence[Mapping[str, Any]]
    refused: list[str] = field(default_factory=list)
    used: set[Granted] = field(default_factory=set)

    async def authorize(self, user: User, action: Action) -> Decision:
        """Allow what a rule allows, and note it."""
        if action.target is None:
            return Decision(action.verb == "get" and action.path.startswith(("/api", "/version")))
        wanted = [action]
        if action.verb == "patch" and not self._exists(action):
            wanted.append(replace(action, verb="create"))
        allowed = [self._allowed(each) for each in wanted]
        if not all(allowed):
            self.refused.append(f"{action.verb} {action.path}")
        return Decision(all(allowed))

    async def rules(self, user: User, namespace: str) -> Sequence[Rule]:
        """Nobody asks here."""
        return ()

    def _exists(self, action: Action) -> bool:
        target = action.target
        assert target is not None
        rt = next(rt for rt in self.store.registry.all() if (rt.group, rt.plural) == (target.group, target.plural))
        return self.store.cache.get(rt.prefix, rt.key(target.namespace, target.name)) is not None

    def _allowed(self, action: Action) -> bool:
        found = [granted for role in self.roles for granted in _matches(role, action)]
        self.used.update(found)
        return bool(found)


def _matches(role: Mapping[str, Any], action: Action) -> Iterable[Granted]:
    target, namespace = action.target, role["metadata"].get("namespace", "")
    assert target is not None
    if namespace and namespace != target.namespace:
        return
    resource = f"{target.plural}/{target.subresource}" if target.subresource else target.plural
    for rule in role["rules"]:
        names = rule.get("resourceNames")
        is_named = names is None or (target.name in names and action.verb != "create")
        is_meant = target.group in rule["apiGroups"] and resource in rule["resources"] and action.verb in rule["verbs"]
        if is_meant and is_named:
            yield namespace, target.group, resource, action.verb


def granted(roles: Iterable[Mapping[str, Any]]) -> set[Granted]:
    """Give everything that roles grant."""
    return {
        (role["metadata"].get("namespace", ""), group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
