"""How a command finds the hub: --home, --server or $ATOLL_SERVER, else the one that runs on this machine."""

import shlex

from atoll.cli.api import Api
from atoll.federation.errors import InvalidInput, Unavailable
from atoll.local.detach import running_state
from atoll.local.home import Home, default_home, running_homes


def connect(server: str | None, home: str | None = None) -> Api:
    """Open a client of the hub.

    Raises:
        InvalidInput: what was named is no server's address.
        Unavailable: none was named and none runs here.
        Conflict: none was named and several run here.
    """
    if server and not home:
        return Api(_checked(server))
    return Api(local_server(home))


def local_server(home: str | None = None) -> str:
    """Give the URL of the hub on this machine: the one in a home folder, or the only one that runs."""
    homes = running_homes(Home.at(home).root if home else default_home())
    if not homes:
        where = f"in {Home.at(home).root}" if home else "on this machine"
        raise Unavailable(f"no hub runs {where}: start one with 'atoll sandbox up', or name one with --server URL")
    _, state = running_state(homes, what="hub")
    if not state.hub_url:
        raise Unavailable("the hub on this machine is still starting: try again in a moment")
    return state.hub_url


def export_line(home: Home) -> str:
    """Give the shell line without which later commands would not find the hub of a home; empty if they do find it."""
    return "" if running_homes(default_home()) == [home] else f"export ATOLL_HOME={shlex.quote(str(home.root))}"


def _checked(server: str) -> str:
    if not server.startswith(("http://", "https://")):
        raise InvalidInput(f"--server {server}: should be an address such as http://127.0.0.1:8700")
    return server
