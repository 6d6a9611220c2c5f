"""What the library holds: each policy by name, with what its header says. It must not judge policies."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from atoll.federation.errors import NotFound
from atoll.policies.manifest import Manifest, parse_file
from atoll.policies.trials.scenario import Scenario, parse_scenarios

_FOLDER = Path(__file__).parent
_TEST = ".policytest.yaml"
_DOES, _LEAVES, _CHANGE, _ADD = "What it does", "What it leaves alone", "What to change", "What to add"


@dataclass(frozen=True)
class LibraryPolicy:
    """One policy of the library.

    Attributes:
        name: the name of its file.
        summary: the first sentence of its header: what it is for, and where.
        does: what it does.
        leaves_alone: what it does not touch; empty if its header does not say.
        change: what to change before it is used, its parameters; or what to add beside it.
        text: the manifests, header included.
        test: its policy test.
    """

    name: str
    summary: str
    does: str
    leaves_alone: str
    change: str
    text: str
    test: str

    @property
    def files(self) -> Mapping[str, str]:
        """The files that it consists of, by name."""
        return {f"{self.name}.yaml": self.text, f"{self.name}{_TEST}": self.test}

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """Its policies as they are written."""
        return parse_file(self.text, f"{self.name}.yaml").manifests

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        """What its policy test states."""
        return parse_scenarios(self.test, f"{self.name}{_TEST}").scenarios


def read_library() -> tuple[LibraryPolicy, ...]:
    """Give every policy of the library, by name."""
    files = sorted(file for file in _FOLDER.glob("*.yaml") if not file.name.endswith(_TEST))
    return tuple(_read(file) for file in files)


def find_policy(name: str) -> LibraryPolicy:
    """Give one policy.

    Raises:
        NotFound: the library has none of that name.
    """
    known = {policy.name: policy for policy in read_library()}
    if name not in known:
        raise NotFound(f"the library has no policy {name!r}; there are {', '.join(known)}")
    return known[name]


def _read(file: Path) -> LibraryPolicy:
    text = file.read_text(encoding="utf-8")
    said = _header(text)
    return LibraryPolicy(
        name=file.stem,
        summary=said[""],
        does=said.get(_DOES, ""),
        leaves_alone=said.get(_LEAVES, ""),
        change=said.get(_CHANGE, said.get(_ADD, "")),
        text=text,
        test=file.with_name(f"{file.stem}{_TEST}").read_text(encoding="utf-8"),
    )


def _header(text: str) -> dict[str, str]:
    """Read the comment at the head: its first paragraph, and what follows each `What …:`."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    summary, _, rest = "\n".join(lines).partition("\n\n")
    parts = re.split(r"^(What [a-z ]+):", rest, flags=re.MULTILINE)
    found = {name: " ".join(said.split()) for name, said in zip(parts[1::2], parts[2::2], strict=True)}
    return {"": " ".join(summary.split()), **found}
