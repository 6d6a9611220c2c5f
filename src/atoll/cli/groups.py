"""How groups of commands are shown and found: the root in sections, each noun with whole sentences.

Owns the order of the root's help, and what is said when a word is no command. It must not know what commands do.
"""

from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

from atoll.cli.mistyped import in_words, meant

# Every command of the root stands in one of them; what stands in none comes at the end, under `Commands`.
_SECTIONS = {
    "Begin": ("demo", "sandbox", "up", "down", "doctor"),
    "Work": ("job", "sbatch", "queue", "whatif"),
    "Data": ("dataset", "stream", "gateway"),
    "Clusters and policies": ("cluster", "mesh", "policy"),
    "Any object": ("get", "describe", "apply", "delete"),
    "The hub and who may use it": (
        "login", "whoami", "context", "token", "audit", "backup", "restore", "support-bundle", "version",
    ),
    "Programs that an installation runs": ("hub", "agent", "sink", "mover"),
}  # fmt: skip
_WHOLE = 1_000  # longer than any first sentence: none is cut


class Noun(TyperGroup):
    """A group of commands; its help shows the first sentence of each, and wraps it rather than to cut it."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write what the group has, in its sections."""
        shown = [(name, command) for name in self.list_commands(ctx) if not (command := self.commands[name]).hidden]
        rows = {name: command.get_short_help_str(_WHOLE).rstrip(".") for name, command in shown}
        for title, names in self.sections(list(rows)):
            with formatter.section(title):
                formatter.write_dl([(name, rows[name]) for name in names])

    def sections(self, names: list[str]) -> Iterator[tuple[str, list[str]]]:
        """Divide the commands; a noun has so few that they stay together."""
        yield "Commands", names

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command of the first word, or say which one may be meant."""
        word = args[0]
        if self.get_command(ctx, word) is None and not ctx.resilient_parsing and not word.startswith("-"):
            _, *within = ctx.command_path.split()
            instead = meant(word, within, set(_paths(ctx.find_root().command)))
            if instead:
                ctx.fail(f"No such command '{word}'. There is: {', '.join(f'atoll {each}' for each in instead)}")
        return super().resolve_command(ctx, args)


class Root(Noun):
    """The root command: it also tells mistyped values of all commands below it in their users' words."""

    def sections(self, names: list[str]) -> Iterator[tuple[str, list[str]]]:
        """Divide the commands by what people come for."""
        for title, members in _SECTIONS.items():
            if found := [name for name in members if name in names]:
                yield title, found
        if left := [name for name in names if not any(name in members for members in _SECTIONS.values())]:
            yield "Commands", left

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was chosen."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = in_words(error)
            raise


def _paths(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Give every command below one that does something, as its words."""
    for name, each in command.commands.items():
        if isinstance(each, TyperGroup):
            yield from _paths(each, (*words, name))
        elif not each.hidden:
            yield (*words, name)
