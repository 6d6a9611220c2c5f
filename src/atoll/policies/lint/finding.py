"""One thing that a linter says, and where."""

from collections.abc import Iterable
from dataclasses import dataclass

from atoll.policies.manifest import Manifest
from atoll.policies.rules import Source


@dataclass(frozen=True, order=True)
class LintFinding:
    """Where it is written (line 0: of a cluster, in no file), its name (PascalCase), and what to do in a sentence."""

    path: str
    line: int
    field: str
    check: str
    message: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.field}: {self.message} ({self.check})"


class Places:
    """Finds the manifest that a rule comes from."""

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        self._by_key = {manifest.key: manifest for manifest in manifests}

    def manifest(self, source: Source) -> Manifest:
        """Give the manifest of a rule."""
        return self._by_key[source.kind, source.namespace or "", source.name]

    def finding(self, source: Source, check: str, message: str) -> LintFinding:
        """Say something of a rule."""
        manifest = self.manifest(source)
        return LintFinding(manifest.origin.path, manifest.line_of(source.field), source.field, check, message)
