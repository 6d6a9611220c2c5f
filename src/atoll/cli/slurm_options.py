"""sbatch's own options on the command line, read by its own table and rules beside those that typer knows.

A hundred more parameters would cost every command of `atoll` a tenth of a second, and typer knows neither beginnings of
names nor values that may be left out.
"""

from collections.abc import Mapping
from typing import Any

from typer.core import TyperCommand

from atoll.cli.slurm.options import OPTIONS, Fate, Option, Takes
from atoll.cli.slurm.script import find_option, take_option
from atoll.federation.errors import InvalidInput

META = "atoll.slurm"
"""Where the context holds what was given, in its order."""


class SbatchCommand(TyperCommand):
    """A command that takes the options of sbatch up to the script; what stands after that is the script's."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take out sbatch's options, and leave the rest to typer."""
        params: list[Any] = self.get_params(ctx)
        takes_value = {name: not param.is_flag for param in params for name in _names(param)}
        left, rest = [], list(args)
        given = ctx.meta[META] = []
        while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
            name, equals, _ = rest[0].partition("=")
            if name in takes_value or find_option(rest[0]) is None:
                count = 2 if takes_value.get(name) and not equals else 1
                left += rest[:count]
                del rest[:count]
                continue
            try:
                given.append(take_option(rest, "command line"))
            except InvalidInput as error:
                ctx.fail(str(error))
        return super().parse_args(ctx, [*left, *rest])

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write typer's options, then those of sbatch that are kept."""
        super().format_options(ctx, formatter)
        with formatter.section("Options of sbatch"):
            kept = (option for option in OPTIONS.values() if option.fate is Fate.KEPT)
            formatter.write_dl([(_written(option), option.advice) for option in kept])


def _names(param: Any) -> tuple[str, ...]:
    return tuple(name for name in (*param.opts, *param.secondary_opts) if name.startswith("-"))


_VALUES: Mapping[Takes, str] = {Takes.VALUE: " VALUE", Takes.MAYBE: "[=VALUE]", Takes.NOTHING: ""}


def _written(option: Option) -> str:
    short = f"-{option.short}, " if option.short else ""
    return f"{short}--{option.name}{_VALUES[option.takes]}"
