"""What the `context` commands do: show the hubs that the kubeconfig knows, choose one, forget one."""

import os
from pathlib import Path

import orjson

from atoll.cli.hub import SERVER_VARIABLE
from atoll.cli.options import Output
from atoll.cli.output import hint, say, to_yaml
from atoll.cli.tables import print_table
from atoll.federation.errors import InvalidInput
from atoll.local import kubeconfig
from atoll.local.home import HOME_VARIABLE, Home
from atoll.local.kubeconfig import Kubeconfig
from atoll.local.kubeconfig_file import user_files


def show(output: Output) -> None:
    """Print Atoll's contexts."""
    found = Kubeconfig.read(user_files())
    contexts = [found.context(name) for name in found.names]
    if output in (Output.JSON, Output.YAML):
        items = [
            {"name": one.name, "current": one.name == found.current, "server": one.server, "home": one.home}
            for one in contexts
        ]
        as_json = orjson.dumps(items, option=orjson.OPT_INDENT_2).decode
        say(as_json() if output is Output.JSON else to_yaml(items).rstrip())
    elif output is Output.NAME:
        for one in contexts:
            say(one.name)
    elif contexts:
        rows = [(one.name, one.name == found.current, one.server, _where(one.home)) for one in contexts]
        print_table(("NAME", "CURRENT", "SERVER", "WHERE"), rows)
    else:
        hint("no context of Atoll's in your kubeconfig: 'atoll up' and 'atoll login' add one")


def use(name: str, *, dry_run: bool) -> None:
    """Make a context the current one, whoever it belongs to.

    Raises:
        NotFound: there is none of that name.
    """
    files = user_files()
    found = Kubeconfig.read(files)
    found.check(name)
    if not dry_run:
        kubeconfig.use(files, name)
    say(f"context/{name} current{' (dry run)' if dry_run else ''}")
    if not found.is_atoll(name):
        hint(f"{name} is no hub of Atoll's: kubectl uses it now, atoll the hub that runs on this machine")
    tell_overridden()


def remove(name: str, *, dry_run: bool) -> None:
    """Take one of Atoll's contexts out of the kubeconfig.

    Raises:
        NotFound: there is none of that name.
        InvalidInput: it is not Atoll's.
    """
    files = user_files()
    found = Kubeconfig.read(files)
    found.check(name)
    if not found.is_atoll(name):
        raise InvalidInput(f"context {name} is not one of Atoll's: kubectl config delete-context {name}")
    if not dry_run:
        kubeconfig.remove(files, name)
    say(f"context/{name} removed{' (dry run)' if dry_run else ''}")
    if found.current == name:
        hint("no context is current now: choose one with 'atoll context use NAME'")


def tell_overridden() -> None:
    """Say so if the environment names another hub, before which the current context does not count."""
    for variable in (SERVER_VARIABLE, HOME_VARIABLE):
        if os.environ.get(variable):
            hint(f"but ${variable} is set, and atoll follows it first: unset {variable}")
            return


def _where(home: str) -> str:
    if not home:
        return ""
    return f"{home}{'' if Home(Path(home)).is_running() else ' (not running)'}"
