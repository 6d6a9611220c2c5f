"""`atoll support-bundle`: one file for whoever helps to find a fault."""

from pathlib import Path
from typing import Annotated

import typer

from atoll.cli.choosing import HubChoice, chooses_hub


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("support-bundle")(support_bundle)


@chooses_hub
def support_bundle(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Default: atoll-support-DATE.tar.gz in this folder.")
    ] = None,
    *,
    hub: HubChoice,
) -> None:
    """Collect what helps to find a fault: versions, objects, events, metrics, logs, and what the doctor says.

    Secrets do not get in: of texts only words pass that Atoll itself uses, numbers, dates and the names of objects;
    manifests of work and annotations are left out. What is in it is printed. It works without a hub, and with any role.

    \b
    Examples:
      atoll support-bundle
      atoll support-bundle fault.tar.gz --server https://hub.lab.org:8700
    """
    from datetime import UTC, datetime

    from atoll.cli.bundling import bundle

    bundle.write(hub, file or Path(f"atoll-support-{datetime.now(UTC):%Y-%m-%dT%H%M%S}.tar.gz"))
