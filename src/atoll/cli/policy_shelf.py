"""What `policy library` does: print what the library holds, and write a policy of it into a folder."""

from pathlib import Path
from typing import Any

import orjson

from atoll.cli.options import RecordOutput
from atoll.cli.output import hint, plural, say, to_yaml
from atoll.cli.tables import print_table
from atoll.federation.errors import Conflict, InvalidInput
from atoll.policies.library.catalogue import LibraryPolicy, find_policy, read_library


def show_all(output: RecordOutput) -> None:
    """Print every policy of the library."""
    found = read_library()
    if output is not RecordOutput.TABLE:
        _dump([_wire(policy) for policy in found], output)
        return
    print_table(("NAME", "SUMMARY"), ((policy.name, policy.summary) for policy in found))
    hint("atoll policy library show NAME tells what to change; write NAME FOLDER puts it and its test there")


def show_one(name: str, output: RecordOutput) -> None:
    """Print one policy.

    Raises:
        NotFound: the library has none of that name.
    """
    policy = find_policy(name)
    if output is not RecordOutput.TABLE:
        _dump({**_wire(policy), "files": dict(policy.files)}, output)
        return
    say(policy.text.rstrip())
    hint(f"its test states {plural(_flows(policy), 'flow')}: atoll policy library write {name} FOLDER brings both")


def write(name: str, folder: Path) -> None:
    """Write a policy and its test into a folder.

    Raises:
        NotFound: the library has none of that name. Conflict: a file of that name says something else.
        InvalidInput: the folder cannot be written.
    """
    policy = find_policy(name)
    taken = [file for file, text in policy.files.items() if _differs(folder / file, text)]
    if taken:
        raise Conflict(f"{folder / taken[0]} is there and says something else; move it away, or name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in policy.files.items():
            (folder / file).write_text(text, encoding="utf-8")
            say(f"{folder / file} written")
    except OSError as error:
        raise InvalidInput(f"{folder}: {error.strerror or error}; name a folder that can be written") from error
    hint(f"what to change: {policy.change}")
    hint(f"then: atoll policy validate {folder} && atoll policy test {folder}")


def _differs(file: Path, text: str) -> bool:
    try:
        return file.exists() and file.read_text(encoding="utf-8", errors="replace") != text
    except OSError as error:
        raise InvalidInput(f"{file}: {error.strerror or error}") from error


def _kinds(policy: LibraryPolicy) -> list[str]:
    return list(dict.fromkeys(manifest.kind for manifest in policy.manifests))


def _flows(policy: LibraryPolicy) -> int:
    return sum(len(scenario.expectations) for scenario in policy.scenarios)


def _wire(policy: LibraryPolicy) -> dict[str, Any]:
    return {
        "name": policy.name,
        "summary": policy.summary,
        "kinds": _kinds(policy),
        "does": policy.does,
        "leavesAlone": policy.leaves_alone,
        "change": policy.change,
        "testedFlows": _flows(policy),
    }


def _dump(value: object, output: RecordOutput) -> None:
    say(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() if output is RecordOutput.JSON else to_yaml(value))
