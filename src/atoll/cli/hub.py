"""How a command finds the hub and what it proves itself with.

What was named for this command comes first: --home, --context or --server; then $ATOLL_SERVER, then $ATOLL_HOME; then
the kubeconfig's current context if it is one of Atoll's; then the hub that runs on this machine.
"""

import os
import shlex
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.cli.choosing import HubChoice
from atoll.cli.patience import USUAL_SECONDS, Patience
from atoll.federation.errors import AtollError, InvalidInput, NotFound, Unavailable
from atoll.local.credentials import Credentials
from atoll.local.home import HOME_VARIABLE, Home, default_home, running_homes
from atoll.local.kubeconfig import Context, Kubeconfig
from atoll.local.kubeconfig_file import user_files

if TYPE_CHECKING:
    from atoll.cli.api import Api

SERVER_VARIABLE, TOKEN_VARIABLE = "ATOLL_SERVER", "ATOLL_TOKEN"
CA_VARIABLE = "ATOLL_CA"


def connect(choice: HubChoice) -> "Api":
    """Open a client of the hub; raises as `find` does."""
    return open_context(find(choice))


def open_context(context: Context) -> "Api":
    """Open a client of a hub that was found; one that somebody has used before may be away for a moment."""
    from atoll.cli.api import Api  # its client loads slowly, and a shell that completes needs the hub's address only

    is_known = bool(context.name or context.home or context.credentials.token)
    return Api(context.server, context.credentials, patience=Patience(USUAL_SECONDS) if is_known else None)


def find(choice: HubChoice) -> Context:
    """Find the hub.

    Raises:
        InvalidInput: what was named is none, or more was named than one.
        NotFound: there is no such context or file.
        Unavailable: the hub does not run.
        Conflict: none was named and several run here.
    """
    named = [f"--{name}" for name in ("home", "context", "server") if getattr(choice, name)]
    if len(named) > 1:
        raise InvalidInput(f"{' and '.join(named)} name a hub each: give one")
    if choice.certificate_authority and not (choice.server or (not named and os.environ.get(SERVER_VARIABLE))):
        raise InvalidInput("--certificate-authority goes with --server: a home and a context have their own")
    if choice.home:
        return _running(Home.at(choice.home).root, f"in {Home.at(choice.home).root}")
    if choice.context:
        return _followed(Kubeconfig.read(user_files()).context(choice.context))
    if server := choice.server or os.environ.get(SERVER_VARIABLE):
        return _named(server, choice.certificate_authority)
    return _unnamed()


def is_named(choice: HubChoice) -> bool:
    """Tell whether anybody said which hub is meant: an option, the environment, or a current context of ours."""
    if choice.server or choice.home or choice.context or os.environ.get(SERVER_VARIABLE):
        return True
    found = Kubeconfig.read(user_files())
    return not os.environ.get(HOME_VARIABLE) and bool(found.current) and found.is_atoll(found.current)


def finds(home: Home) -> bool:
    """Tell whether a command that names no hub would find the one of this home."""
    try:
        return find(HubChoice()).home == str(home.root)
    except AtollError:
        return False


def export_line(home: Home) -> str:
    """Give the shell line without which later commands would not find the hub of a home; empty if they do find it."""
    return "" if finds(home) else f"export {HOME_VARIABLE}={shlex.quote(str(home.root))}"


def checked_address(server: str) -> str:
    """Check that something looks like a server's address.

    Raises:
        InvalidInput: it does not.
    """
    if not server.startswith(("http://", "https://")):
        raise InvalidInput(f"{server}: a hub's address is such as https://127.0.0.1:8700")
    return server.rstrip("/")


def _unnamed() -> Context:
    if os.environ.get(HOME_VARIABLE):
        return _running(default_home(), f"in {default_home()} (${HOME_VARIABLE})")
    found = Kubeconfig.read(user_files())
    if found.current and found.is_atoll(found.current):
        return _followed(found.context(found.current))
    return _running(default_home(), "on this machine")


def _running(root: Path, where: str) -> Context:
    """Give the context of the one hub that runs under a folder."""
    from atoll.local.detach import running_state  # these load all models: whom a kubeconfig tells needs none
    from atoll.local.hub import context_of

    homes = running_homes(root)
    if not homes:
        raise Unavailable(
            f"no hub runs {where}: start one with 'atoll up' or 'atoll sandbox up', or name one with --server URL"
        )
    home, state = running_state(homes, what="hub")
    if not state.hub_url:
        raise Unavailable("the hub on this machine is still starting: try again in a moment")
    return context_of(home)


def _followed(context: Context) -> Context:
    """Check that the hub of a context runs, where that can be known.

    A hub that does not run is not replaced by another one that does: a command would change what nobody meant.
    """
    if context.home and not Home(Path(context.home)).is_running():
        remedy = f"start it with '{context.start}'" if context.start else "start it"
        raise Unavailable(
            f"the hub of context {context.name} does not run: {remedy}, or choose another one (atoll context list)"
        )
    return context


def _named(server: str, ca_file: Path | None) -> Context:
    """Give a server by its address, with $ATOLL_TOKEN, else with what is known of exactly this address."""
    address = checked_address(server)
    known = next(_known(address), Context("", address))
    ca = trusted_ca(address, ca_file)
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if token:  # whoever the context is of, this is asked by the token's user
        return replace(known, name="", credentials=Credentials(ca=ca, token=token))
    return replace(known, credentials=replace(known.credentials, ca=ca))


def trusted_ca(address: str, ca_file: Path | None) -> bytes:
    """Give the CA to trust with a server: the one that was named, else $ATOLL_CA, else the one known with it.

    Raises:
        NotFound: the file cannot be read.
    """
    path = ca_file or (Path(os.environ[CA_VARIABLE]) if os.environ.get(CA_VARIABLE) else None)
    if path is None:
        return next((context.credentials.ca for context in _known(address)), b"")
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFound(f"cannot read the certificate authority {path}: {error.strerror or error}") from error


def _known(address: str) -> Iterator[Context]:
    """Find what is known of a server: in the kubeconfig, and in the homes of this machine."""
    from atoll.local.hub import context_of

    found = Kubeconfig.read(user_files())
    contexts = chain(
        (found.context(name) for name in found.names),
        (context_of(home) for home in running_homes(default_home()) if home.kubeconfig.exists()),
    )
    return (context for context in contexts if context.server == address)
