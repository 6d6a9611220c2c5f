"""The options by which every command that speaks to a hub lets a person choose it, spelled once."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from atoll.cli import completing


@dataclass(frozen=True)
class HubChoice:
    """What a command was told about the hub; at most one of server, home and context."""

    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The hub; default: $ATOLL_SERVER, the current context, this machine's."),
    ] = None
    home: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="The hub that runs in this home folder, instead of --server.")
    ] = None
    context: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The hub of this context of the kubeconfig, instead of --server.",
            autocompletion=completing.contexts,
        ),
    ] = None
    certificate_authority: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CA to trust with --server; default: $ATOLL_CA.")
    ] = None


def chooses_hub(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of HubChoice; it gets them together as its parameter `hub`."""
    return _choosing(command, {option.name: option.name for option in fields(HubChoice)})


def chooses_hub_beside_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Do the same for a command whose own --context is a cluster's: the hub's context is then --hub-context."""
    names = {option.name: option.name for option in fields(HubChoice)}
    return _choosing(command, names | {"context": "hub_context"})


def _choosing(command: Callable[..., None], names: Mapping[str, str]) -> Callable[..., None]:
    """Add the options; `names` tells for each field of HubChoice what the command line calls it."""
    return gathering(command, "hub", HubChoice, names)


def gathering(
    command: Callable[..., None], parameter: str, options: type[Any], names: Mapping[str, str] | None = None
) -> Callable[..., None]:
    """Give a command an option for each field of a dataclass; it gets them together as one parameter.

    Args:
        command: the function of the command.
        parameter: what it calls them all.
        options: the dataclass; its fields are annotated as typer wants it.
        names: what the command line calls each field, where not as the dataclass does.
    """
    called = {option.name: (names or {}).get(option.name, option.name) for option in fields(options)}
    signature = inspect.signature(command)
    added = [
        inspect.Parameter(
            called[option.name], inspect.Parameter.KEYWORD_ONLY, default=_default(option), annotation=option.type
        )
        for option in fields(options)
    ]
    own = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, each in signature.parameters.items()
        if name != parameter
    ]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        chosen = options(**{field: values.pop(option) for field, option in called.items()})
        command(**values, **{parameter: chosen})

    # typer reads both: which parameters there are, and what they are annotated with.
    run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in (*own, *added)}
    return run


def _default(option: Field[Any]) -> Any:
    return option.default_factory() if option.default_factory is not MISSING else option.default
