"""What `mesh services` prints: services that clusters offer together, and where their endpoints are."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from atoll.cli.ages import age, instant
from atoll.cli.api import Api
from atoll.cli.meshing import print_record, read_members
from atoll.cli.options import Output
from atoll.cli.output import hint, plural
from atoll.cli.tables import print_table
from atoll.federation.mesh import SharedService, shared_services


def show(api: Api, output: Output) -> None:
    """Print every shared service."""
    members = read_members(api)
    found = shared_services(members, now=datetime.now(UTC))
    if output in (Output.JSON, Output.YAML):
        print_record([_document(each) for each in found], output)
    elif not found:
        hint("no service is shared: annotate one with service.cilium.io/global=true, or export it by a ServiceExport")
    elif output is Output.WIDE:
        headers = ("NAMESPACE", "NAME", "CLUSTER", "READY", "UNREADY", "HOW", "SHARED", "AFFINITY", "SEEN", "MESSAGE")
        print_table(headers, _places(found))
    else:
        print_table(("NAMESPACE", "NAME", "STATE", "ENDPOINTS", "MESSAGE"), map(_row, found))
    for member in members:
        if member.facts.omitted_services:
            hint(f"{member.cluster}: {plural(member.facts.omitted_services, 'more service')} not told, too many")


def _row(service: SharedService) -> tuple[object, ...]:
    endpoints = tuple(f"{place.cluster}:{place.service.endpoints}" for place in service.places)
    return service.namespace, service.name, str(service.state), endpoints, service.message


def _places(services: tuple[SharedService, ...]) -> Iterator[tuple[object, ...]]:
    for service in services:
        for place in service.places:
            part = place.service
            how = tuple(word for word, is_so in (("global", part.is_global), ("export", part.is_exported)) if is_so)
            counts = part.endpoints, part.unready_endpoints
            seen = age(place.seen_at)
            yield (
                *(service.namespace, service.name, place.cluster, *counts),
                *(how, part.is_shared, part.affinity, seen, part.problem),
            )


def _document(service: SharedService) -> dict[str, Any]:
    places = [
        {"cluster": place.cluster, "seenAt": instant(place.seen_at), "isStale": place.is_stale, **place.service.wire()}
        for place in service.places
    ]
    return {
        "namespace": service.namespace,
        "name": service.name,
        "state": str(service.state),
        "message": service.message,
        "places": places,
    }
