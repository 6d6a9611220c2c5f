"""What is said of an option's value that cannot be read: the value, and what it should be.

Owns the words only. Typer hands on what pydantic says, which names Python's types and not always the value.
"""

from typing import Any

import typer
from typer.core import TyperGroup


class Root(TyperGroup):
    """The root command: it tells mistyped values of all commands below it in their users' words."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was chosen."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = in_words(error)
            raise


def in_words(error: typer.BadParameter) -> str:
    """Say what is wrong with a value, as it was typed. Pure."""
    from pydantic import ValidationError

    if not isinstance(error.__cause__, ValidationError):
        return error.message
    from atoll.federation.resources.validation import value_problem

    return value_problem(error.__cause__)
