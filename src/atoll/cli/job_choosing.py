"""The options by which a person chooses jobs: those that are named, or all that match (job_matching.py)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

import typer

from atoll.cli import completing
from atoll.cli.choosing import gathering
from atoll.cli.options import AllNamespaces, Namespace, Selector
from atoll.federation.errors import InvalidInput


class PhaseChoice(StrEnum):
    """What `--phase` takes: the phases of jobs, and the two halves of them."""

    ACTIVE = "Active"
    ENDED = "Ended"
    PENDING = "Pending"
    PLACED = "Placed"
    RUNNING = "Running"
    COMMITTING = "Committing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


@dataclass(frozen=True)
class Wanted:
    """By what jobs are chosen; all that is given has to hold."""

    selector: Selector = ""
    queue: Annotated[
        str,
        typer.Option(
            "--queue", metavar="QUEUE", help="Only jobs of this queue.", autocompletion=completing.of("queues")
        ),
    ] = ""
    user: Annotated[str, typer.Option("--user", metavar="me|NAME", help="Only jobs that this user submitted.")] = ""
    phase: Annotated[
        list[PhaseChoice],
        typer.Option(
            "--phase",
            case_sensitive=False,
            metavar="PHASE",
            help="Only jobs in this phase, such as Running; Active and Ended are all before and after the end. "
            "Once for each that is meant.",
        ),
    ] = field(default_factory=list)

    @property
    def is_any(self) -> bool:
        """Whether nothing was chosen by."""
        return not (self.selector or self.queue or self.user or self.phase)


@dataclass(frozen=True)
class Choice(Wanted):
    """Which jobs are to be changed: by their names, or by what they are."""

    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="The jobs.", autocompletion=completing.of("jobs"))
    ] = field(default_factory=list)
    namespace: Namespace = "default"
    all_namespaces: AllNamespaces = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing, however many jobs match.")] = False

    @property
    def where(self) -> str:
        """The namespace; empty: all."""
        return "" if self.all_namespaces else self.namespace

    def check(self) -> None:
        """Check that jobs were chosen in one of the two ways.

        Raises:
            InvalidInput: in none, or in both, or by a name that may be in any namespace.
        """
        if self.names and not self.is_any:
            raise InvalidInput("give names, or choose by --selector, --queue, --user and --phase, not both")
        if not self.names and self.is_any:
            raise InvalidInput("which job? Give names, or choose by --selector, --queue, --user or --phase")
        if self.names and self.all_namespaces:
            raise InvalidInput("a name needs a namespace: use -n instead of -A")


def wants_jobs(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of Wanted; it gets them together as its parameter `wanted`."""
    return gathering(command, "wanted", Wanted)


def chooses_jobs(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of Choice; it gets them together as its parameter `choice`."""
    return gathering(command, "choice", Choice)
