"""How tests come to the pages of a stage: as a browser that signs somebody in, and what its forms carry."""

from collections.abc import Callable

import httpx

from atoll.hub.dashboard.session import Forms

PAGES = ("fleet", "queues", "jobs", "clusters/eu-west-000", "queues/optics", "data", "policies", "audit")
SAME = {"sec-fetch-site": "same-origin"}
Visit = Callable[[str], httpx.Client]


def proof_of(name: str) -> str:
    """Give what a form of somebody has to carry."""
    return Forms().proof(f"token-of-{name}")
