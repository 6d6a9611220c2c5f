"""Admission of Kubernetes' kinds in a simulated cluster: by schema first, then a kind's own defaults and rules.

Owns that order; must not look at other objects. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from atoll.kubeapi.errors import Cause
from atoll.kubeapi.resource import Object, Prepared
from atoll.kubeapi.schema_strategy import SchemaStrategy

Default = Callable[[Object], None]
Rule = Callable[[Object, Object | None], Iterable[Cause]]


class Admission:
    """The strategy of one kind. Its own defaults and rules see only objects that fit the schema."""

    def __init__(self, schema: Mapping[str, Any], *, default: Default | None, rule: Rule | None) -> None:
        """`default` changes the object in place, `rule` says what is wrong with it."""
        self._by_schema = SchemaStrategy(schema)
        self._default = default
        self._rule = rule

    def prepare(self, new: Object, old: Object | None) -> Prepared:
        """Default and validate `new`; see kubeapi's Strategy."""
        prepared = self._by_schema.prepare(new, old)
        if prepared.causes:
            return prepared
        if self._default is not None:
            self._default(prepared.obj)
        causes = () if self._rule is None else tuple(self._rule(prepared.obj, old))
        return replace(prepared, causes=causes)
