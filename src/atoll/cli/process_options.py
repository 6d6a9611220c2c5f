"""The options that several of Atoll's long-lived processes have, and how each is run: with logs, until a signal."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atoll.cli.choosing import gathering

if TYPE_CHECKING:
    from atoll.edge.enrolment import EnrolmentSettings

StateDir = Annotated[Path, typer.Option("--state-dir", metavar="FOLDER", help="Folder of this process alone.")]
LogLevel = Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")]
OpenNats = Annotated[
    str, typer.Option("--nats", envvar="ATOLL_NATS", metavar="URL", help="A NATS server that asks for no credentials.")
]
ConnectTo = Annotated[
    list[str] | None,
    typer.Option(
        "--connect-to",
        envvar="ATOLL_CONNECT_TO",
        metavar="HOST:PORT=HOST:PORT",
        help="Dial the second address where the first is named, as through a relay; repeatable.",
    ),
]


@dataclass(frozen=True)
class Enrolling:
    """How the agent of a cluster or a lab comes to its hub."""

    nats: OpenNats = ""
    hub: Annotated[str, typer.Option("--hub", metavar="URL", help="Hub to enrol with, at the first start.")] = ""
    hub_ca: Annotated[Path | None, typer.Option("--hub-ca", metavar="FILE", help="CA of the hub's certificate.")] = None
    enrolment_token_file: Annotated[
        Path | None,
        typer.Option("--enrolment-token-file", metavar="FILE", help="One-time token, for the first start."),
    ] = None
    connect_to: ConnectTo = None

    def settings(self) -> "EnrolmentSettings":
        """Give them as the agent takes them. Raises InvalidInput for a way that is none."""
        from atoll.edge.enrolment import EnrolmentSettings
        from atoll.federation.bus.routes import Routes

        routes = Routes.parse(self.connect_to or ())
        return EnrolmentSettings(self.nats, self.hub, self.hub_ca, self.enrolment_token_file, routes)


def enrols(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of Enrolling; it gets them together as its parameter `enrolling`."""
    return gathering(command, "enrolling", Enrolling)


def run(main: Any, log_level: str) -> None:
    """Run a process until it ends or is told to."""
    from atoll.cli.logs import configure_logging
    from atoll.local.signals import run_until_signalled

    configure_logging(log_level)
    run_until_signalled(main)
