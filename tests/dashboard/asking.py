"""Who asks for a page, in tests of view models: no HTTP, no store."""

from datetime import UTC, datetime

from atoll.hub.access import roles
from atoll.hub.access.grant import Grant
from atoll.hub.dashboard.ask import Ask
from atoll.hub.dashboard.rights import Rights
from atoll.kubeapi.http.access import User

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def asking(*grants: Grant, namespaces: tuple[str, ...] = ("optics", "seismology"), **query: str) -> Ask:
    """Ask with filters, as somebody with these grants; as an Admin without any."""
    held = grants or (Grant("Admin"),)
    inside = {name: roles.rules(held, name) for name in namespaces}
    return Ask("/dashboard/here", Rights(User("ada"), roles.rules(held, ""), inside), NOW, query)
