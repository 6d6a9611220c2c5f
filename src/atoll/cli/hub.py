"""How a command finds the hub: --server or $ATOLL_SERVER, else the one that runs on this machine."""

from atoll.cli.api import Api
from atoll.federation.errors import Unavailable
from atoll.local.detach import running_state
from atoll.local.home import default_home, running_homes


def connect(server: str | None) -> Api:
    """Open a client of the hub.

    Raises:
        Unavailable: none was named and none runs here.
        Conflict: none was named and several run here.
    """
    return Api(server or local_server())


def local_server() -> str:
    """Give the URL of the hub on this machine."""
    homes = running_homes(default_home())
    if not homes:
        raise Unavailable(
            "no hub runs on this machine: start one with 'atoll sandbox up', or name one with --server URL"
        )
    _, state = running_state(homes, what="hub")
    if not state.hub_url:
        raise Unavailable("the hub on this machine is still starting: try again in a moment")
    return state.hub_url
