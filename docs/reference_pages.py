"""The reference, made from the code whenever the documentation is built: kinds, commands, settings, metrics, subjects.

A hook of MkDocs (mkdocs.yml). What the pages say stands in the code: descriptions of fields, help of commands,
docstrings of subjects. Nothing here is worth editing but the order and the form.
"""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from typer.core import TyperCommand, TyperGroup, TyperOption

from atoll.cli.main import app
from atoll.federation.bus import subjects
from atoll.federation.resources import GROUP_VERSION, KINDS, Kind
from atoll.hub.metrics import Metrics
from atoll.hub.schema import openapi_schema

Command = TyperCommand | TyperGroup
_EXAMPLES_FOLDER = Path(__file__).parents[1] / "examples"
# Long-running commands: what they take is the settings of a process.
_PROCESSES = ("hub serve", "agent", "gateway run", "sink", "mover")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each kind, one for the commands, and the others."""
    command = typer.main.get_command(app)
    pages = {
        "reference/kinds.md": kinds_page(),
        **{f"reference/kinds/{kind.singular}.md": kind_page(kind) for kind in KINDS},
        "reference/commands.md": "# Commands\n\n" + "".join(command_sections(command, "atoll")),
        "reference/settings.md": settings_page(command),
        "reference/metrics.md": metrics_page(),
        "reference/subjects.md": subjects_page(),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    for example in sorted(_EXAMPLES_FOLDER.rglob("*.yaml")):
        path = f"examples/{example.relative_to(_EXAMPLES_FOLDER)}"
        files.append(File.generated(config, path, abs_src_path=str(example)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Point links to examples at the copies beside the pages: in the repository they stand beside docs/."""
    return markdown.replace("](../examples/", "](examples/")


def kinds_page() -> str:
    """List the kinds with what each is."""
    rows = "".join(
        f"| [{kind.name}](kinds/{kind.singular}.md) | `{', '.join((kind.plural, *kind.short_names))}` "
        f"| {'namespace' if kind.namespaced else 'federation'} | {_cell(kind.model.description)} |\n"
        for kind in KINDS
    )
    title = f"# Kinds of `{GROUP_VERSION}`\n\n`kubectl explain KIND.spec --recursive` says the same of a hub.\n\n"
    return f"{title}| kind | names | scope | what it is |\n|---|---|---|---|\n{rows}"


def kind_page(kind: Kind) -> str:
    """Tell every field of a kind."""
    schema = openapi_schema(kind)["properties"]
    text = f"# {kind.name}\n\n{kind.model.description}\n"
    if kind.immutable:
        text += f"\nNot to be changed later: {', '.join(f'`spec.{path}`' for path in kind.immutable)}.\n"
    for part in ("spec", "status"):
        rows = "".join(_rows(schema[part])) if part in schema else ""
        if rows:
            text += f"\n## {part}\n\n| field | type | meaning |\n|---|---|---|\n{rows}"
    return text


def _rows(node: Mapping[str, Any], path: str = "") -> Iterator[str]:
    required = node.get("required", ())
    for name, child in node.get("properties", {}).items():
        at, inner = f"{path}.{name}" if path else name, child
        if child.get("type") == "array":
            at, inner = f"{at}[]", child["items"]
        elif isinstance(child.get("additionalProperties"), Mapping):
            at, inner = f"{at}.*", child["additionalProperties"]
        must = ", required" if name in required else ""
        yield f"| `{at}` | {_type(inner)}{must} | {_meaning(child)} |\n"
        yield from _rows(inner, at)


def _type(node: Mapping[str, Any]) -> str:
    if "enum" in node:
        return " \\| ".join(f"`{each}`" for each in node["enum"])
    return str(node.get("format") or node.get("type", "any"))


def _meaning(node: Mapping[str, Any]) -> str:
    default = f" Default: `{node['default']}`." if "default" in node else ""
    return _cell(node.get("description", "")) + default


def command_sections(command: Command, name: str, depth: int = 2) -> Iterator[str]:
    """Tell a command and those below it, with their help as the terminal shows it."""
    with typer.Context(command, info_name=name, terminal_width=100, max_content_width=100) as context:
        if command.hidden:
            return
        yield f"{'#' * min(depth, 4)} {name}\n\n```text\n{command.get_help(context)}\n```\n\n"
        if isinstance(command, TyperGroup):
            for each in command.list_commands(context):
                below = command.get_command(context, each)
                if below is not None:
                    yield from command_sections(below, f"{name} {each}", depth + 1)


def settings_page(command: Command) -> str:
    """Tell the options and variables of every long-running process."""
    text = "# Settings\n\nProcesses read options, variables where one is named, and the files that options name.\n"
    for name in _PROCESSES:
        found = _find(command, name.split())
        text += f"\n## atoll {name}\n\n{_cell(found.get_short_help_str(300))}\n\n"
        text += "| option | variable | default | meaning |\n|---|---|---|---|\n"
        text += "".join(_setting(each) for each in found.params if isinstance(each, TyperOption) and not each.hidden)
    return text


def _find(command: Command, path: list[str]) -> Command:
    for name in path:
        assert isinstance(command, TyperGroup)
        command = command.commands[name]
    return command


def _setting(option: TyperOption) -> str:
    variable = option.envvar if isinstance(option.envvar, str) else ""
    default = "" if option.default in (None, False, ()) or callable(option.default) else f"`{option.default}`"
    names = f"`{', '.join(option.opts)}`"
    return f"| {names} | {variable and f'`{variable}`'} | {default} | {_cell(option.help or '')} |\n"


def metrics_page() -> str:
    """Tell what the hub counts, by its own scrape."""
    families = text_string_to_metric_families(Metrics().expose().decode())
    rows = "".join(f"| `{_asked(each)}` | {each.type} | {_cell(each.documentation)} |\n" for each in families)
    return f"# Metrics\n\nThe hub serves them at `/metrics`.\n\n| metric | type | meaning |\n|---|---|---|\n{rows}"


def _asked(family: Metric) -> str:
    """Give the name that PromQL asks a metric by: the parser takes the end of a counter's off."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def subjects_page() -> str:
    """Tell the subjects and streams of NATS, each with an example."""
    text = f"# Subjects and streams\n\n{inspect.getdoc(subjects)}\n\n| name | example | what it is |\n|---|---|---|\n"
    for name, function in inspect.getmembers(subjects, inspect.isfunction):
        if name.endswith(("_subject", "_prefix", "_stream")) and function.__module__ == subjects.__name__:
            parameters = inspect.signature(function).parameters
            example = function(**{each: _EXAMPLES[each] for each in parameters})
            text += f"| `{name}` | `{example}` | {_cell(inspect.getdoc(function) or '')} |\n"
    return text


_EXAMPLES = {
    "kind": "cluster", "name": "onprem-gpu", "member": "onprem-gpu", "cluster": "onprem-gpu", "gateway": "seismo.lab",
    "namespace": "seismology", "stream": "anmo", "verb": "logs", "token": "TOKEN", "stored": "lab.seismo_lab.ns.anmo",
}  # fmt: skip


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
