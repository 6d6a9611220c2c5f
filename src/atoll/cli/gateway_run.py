"""`atoll gateway run`: the agent of one lab, and how it comes to its broker."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from atoll.cli.choosing import gathering
from atoll.cli.process_options import Enrolling, LogLevel, StateDir, enrols, run

if TYPE_CHECKING:
    from atoll.edge.gateway.mqtt.settings import BrokerSettings


@dataclass(frozen=True)
class AtBroker:
    """Which broker a gateway is a client of, and as whom."""

    broker: Annotated[str | None, typer.Option(metavar="URL", help="MQTT broker, unless the Gateway says it.")] = None
    broker_username: Annotated[
        str | None,
        typer.Option("--broker-username", envvar="ATOLL_BROKER_USERNAME", help="Who the gateway is to its broker."),
    ] = None
    broker_password_file: Annotated[
        Path | None,
        typer.Option("--broker-password-file", metavar="FILE", help="File with the password for the broker."),
    ] = None
    broker_ca: Annotated[
        Path | None,
        typer.Option("--broker-ca", metavar="FILE", help="CA of the broker's certificate; the system's if unset."),
    ] = None
    broker_certificate: Annotated[
        Path | None,
        typer.Option("--broker-certificate", metavar="FILE", help="Client certificate to show to the broker."),
    ] = None
    broker_key: Annotated[
        Path | None, typer.Option("--broker-key", metavar="FILE", help="Its key, unless it is in the same file.")
    ] = None
    receiver: Annotated[
        Literal["paho", "fast"],
        typer.Option(
            "--receiver", help="paho: the Eclipse project's client; fast: Atoll's own, at a tenth of its CPU."
        ),
    ] = "paho"

    def settings(self) -> "BrokerSettings":
        """Give them as the gateway takes them, with the password that the environment may have."""
        from atoll.edge.gateway.mqtt.settings import BrokerSettings

        return BrokerSettings(
            self.broker,
            self.broker_username,
            self.broker_password_file,
            os.environ.get("ATOLL_BROKER_PASSWORD"),
            self.broker_ca,
            self.broker_certificate,
            self.broker_key,
            self.receiver,
        )


def serve(
    name: Annotated[str, typer.Option("--gateway", help="Name of the Gateway that this process is.")],
    state_dir: StateDir,
    files_root: Annotated[
        list[str] | None,
        typer.Option(
            "--files-root",
            metavar="[NAME=]DIR",
            help="A folder that Streams may take files from, whatever the hub says; repeatable. "
            "Named by its last part.",
        ),
    ] = None,
    heartbeat_seconds: Annotated[float, typer.Option(min=0.1, help="How often the hub hears from it.")] = 2.0,
    log_level: LogLevel = "info",
    *,
    enrolling: Enrolling,
    at_broker: AtBroker,
) -> None:
    """Run the agent of one lab: take MQTT messages and files of instruments, keep them safe, forward them.

    At its first start it enrols with the hub by a one-time token (see 'atoll gateway enroll').

    \b
    Example:
      atoll gateway run --gateway lab-a --hub https://hub:8700 --hub-ca ca.crt \\
        --enrolment-token-file token --state-dir /var/lib/atoll --broker mqtt://localhost:1883

    The broker's password is read from a file, or from ATOLL_BROKER_PASSWORD.
    """
    from atoll.edge.gateway import main
    from atoll.edge.gateway.file_source.roots import Roots
    from atoll.edge.gateway.settings import GatewaySettings

    settings = GatewaySettings(
        gateway=name,
        enrolment=enrolling.settings(),
        state_dir=state_dir,
        broker=at_broker.settings(),
        files=Roots.parse(files_root or ()),
        heartbeat_seconds=heartbeat_seconds,
    )
    run(main.run(settings), log_level)


def register(gateway: typer.Typer) -> None:
    """Add the command."""
    gateway.command("run")(gathering(enrols(serve), "at_broker", AtBroker))
