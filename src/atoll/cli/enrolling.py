"""Inviting members and sending them away: the hub's API for enrolments, and what a person copies for a gateway."""

import shlex
from dataclasses import dataclass

from atoll.cli import kinds
from atoll.cli.api import Api
from atoll.cli.output import hint, say
from atoll.federation.errors import Conflict, NotFound
from atoll.federation.holdings import fed_by, of_fed
from atoll.federation.resources import GROUP_VERSION, Stream

_KINDS = {"cluster": "Cluster", "gateway": "Gateway"}
_BROKER = "mqtt://localhost:1883"


@dataclass(frozen=True)
class Invitation:
    """A one-time token, and when it ends (ISO 8601)."""

    token: str
    expires_at: str

    @property
    def until(self) -> str:
        """When it ends, as people read it."""
        return f"{self.expires_at[:19].replace('T', ' ')} UTC"


def ensure_object(api: Api, kind: str, name: str) -> bool:
    """Create the Cluster or Gateway if it is not there; tell whether it was new."""
    ref = kinds.atoll(_KINDS[kind])
    if api.find(ref.path(None, name)) is not None:
        return False
    manifest = {"apiVersion": GROUP_VERSION, "kind": _KINDS[kind], "metadata": {"name": name}, "spec": {}}
    try:
        api.create(ref.collection(), manifest)
    except Conflict:
        return False
    return True


def invite(api: Api, kind: str, name: str) -> Invitation:
    """Have the hub make a one-time token for a member."""
    answer = api.create("/access/enrolments", {"kind": kind, "name": name})
    return Invitation(str(answer["token"]), str(answer["expiresAt"]))


def send_away(api: Api, kind: str, name: str) -> bool:
    """Make a member's credentials worthless; tell whether it was one."""
    try:
        api.delete(f"/access/members/{kind}/{name}")
    except NotFound:
        return False
    return True


def show_gateway_invitation(api: Api, name: str) -> None:
    """Invite a gateway; the token goes to stdout with what to do with it, and nowhere else."""
    if ensure_object(api, "gateway", name):
        hint(f"gateway/{name} created")
    invitation = invite(api, "gateway", name)
    hint(f"the token is good once, until {invitation.until}")
    hint("run this on the machine of the gateway, with its broker's address:")
    say(f"echo {shlex.quote(invitation.token)} > token")
    ca = api.credentials.ca.decode() if api.server.startswith("https://") else ""
    if ca:
        say(f"cat > ca.crt <<'END'\n{ca.strip()}\nEND")
    say(_gateway_command(name, api.server, has_ca=bool(ca)))


def remove_gateway(api: Api, name: str, *, force: bool) -> None:
    """Send a gateway away and delete its object; say what was there.

    Raises:
        NotFound: there is no such gateway. Conflict: streams name it; not with force.
    """
    check_unused(api, name, force=force)
    path = kinds.atoll("Gateway").path(None, name)
    is_object = api.find(path) is not None
    was_member = send_away(api, "gateway", name)
    if is_object:
        delete_gateway(api, name, force=force)
    if not was_member and not is_object:
        raise NotFound(f"there is no gateway {name}, and no member of that name")
    say(f"gateway/{name} left")


def check_unused(api: Api, name: str, *, force: bool) -> None:
    """Refuse to take a gateway from its streams; with force say what becomes of them.

    Raises:
        Conflict: streams name it; not with force.
    """
    found = api.get(kinds.atoll("Stream").collection()).get("items", [])
    names = fed_by(name, (Stream.model_validate(each) for each in found))
    if names and not force:
        raise Conflict(
            f"{of_fed(name, names)}: delete them, or set their spec.gateway to another one; or --force, and nothing "
            "comes into their datasets until they have another one"
        )
    if names:
        hint(f"{of_fed(name, names)}; nothing comes into their datasets until they have another one")


def delete_gateway(api: Api, name: str, *, force: bool, dry_run: bool = False) -> None:
    """Delete a Gateway; by force though streams name it."""
    path = kinds.atoll("Gateway").path(None, name)
    if force and not dry_run:
        api.merge(path, {"metadata": {"annotations": {"atoll.dev/leave-force": "true"}}})
    api.delete(path, dry_run=dry_run)


def _gateway_command(name: str, server: str, *, has_ca: bool) -> str:
    """Give the command line that runs a gateway, once its token and the hub's CA are files beside it."""
    hub = ("--hub", server, *(("--hub-ca", "ca.crt") if has_ca else ()), "--enrolment-token-file", "token")
    command = shlex.join(("atoll", "gateway", "run", "--gateway", name, *hub))
    return f"{command} \\\n  {shlex.join(('--state-dir', f'./{name}', '--broker', _BROKER))}"
