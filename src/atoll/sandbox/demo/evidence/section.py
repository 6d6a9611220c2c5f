"""A part of the report: what was found, and the claims that were checked on it. Values only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One claim, whether it holds, and where to look if it does not."""

    claim: str
    holds: bool
    look: str


@dataclass(frozen=True)
class Section:
    """One part of the report. `summary` is its one line, `headers` and `rows` its table,
    `notes` what is too long for a cell."""

    title: str
    summary: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every claim holds."""
        return all(check.holds for check in self.checks)
