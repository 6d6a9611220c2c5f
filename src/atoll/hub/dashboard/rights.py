"""What a user may see and do, as values: made of the same rules that the API decides by.

Owns the questions that pages ask about rights; pure once loaded. The rules come from the hub's authorizer, so a page
cannot show what the API would refuse; the API decides again over every action.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from atoll.federation.resources import API_GROUP, API_VERSION
from atoll.hub.access.roles import covers
from atoll.kubeapi.http.access import Access, Action, Rule, User
from atoll.kubeapi.http.target import Target


@dataclass(frozen=True)
class Rights:
    """The rules of one user: those that hold everywhere, and those of each namespace."""

    user: User
    everywhere: Sequence[Rule] = ()
    inside: Mapping[str, Sequence[Rule]] = field(default_factory=dict)

    @classmethod
    async def load(cls, access: Access, user: User, namespaces: Iterable[str]) -> "Rights":
        """Ask for the rules of a user; who may do all needs none of single namespaces."""
        everywhere = await access.rules(user, "")
        if _reads_all(everywhere) and _writes_all(everywhere):
            return cls(user, everywhere)
        return cls(user, everywhere, {name: await access.rules(user, name) for name in namespaces})

    def may(self, verb: str, resource: str, namespace: str = "", *, group: str = API_GROUP) -> bool:
        """Tell whether the user may; `resource` is a plural, with `/subresource` if it is about one."""
        plural, _, subresource = resource.partition("/")
        action = Action(verb, "", Target(group, API_VERSION, plural, namespace or None, "", subresource))
        return any(covers(rule, action) for rule in (*self.everywhere, *self.inside.get(namespace, ())))

    def sees(self, plural: str, namespace: str = "") -> bool:
        """Tell whether the user may list a kind, in a namespace or everywhere."""
        return self.may("list", plural, namespace)

    def namespaces(self, plural: str) -> frozenset[str] | None:
        """Give the namespaces in which the user may list a kind; None stands for all of them."""
        if self.sees(plural):
            return None
        return frozenset(name for name in self.inside if self.sees(plural, name))

    def why_not(self, verb: str, resource: str, namespace: str = "") -> str:
        """Say why something may not be done; empty if it may."""
        if self.may(verb, resource, namespace):
            return ""
        where = f" in namespace {namespace}" if namespace else ""
        return f"your roles do not let you {verb} {resource}{where}: an Admin grants one by a RoleBinding"


def _reads_all(rules: Sequence[Rule]) -> bool:
    return Rights(User(""), rules).sees("jobs")


def _writes_all(rules: Sequence[Rule]) -> bool:
    return Rights(User(""), rules).may("patch", "jobs")
