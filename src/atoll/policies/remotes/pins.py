"""How git is held to the addresses that were judged: names are resolved once, here, and git, curl and ssh are told.

Owns resolving and what git is started with. A name that is asked for twice may be answered twice differently (DNS
rebinding), so that nobody asks again; a redirect is not followed by git but given back (`git.py` asks here anew).

Where the hub user's own configuration leads through somebody else (a proxy of the environment, ssh's ProxyJump or
ProxyCommand), that one resolves and connects: the name is judged, and its addresses if it has any here.
"""

import asyncio
import ipaddress
import re
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.request import getproxies_environment, proxy_bypass

from atoll.federation.errors import Unavailable
from atoll.policies.programs import Bounds, ProgramFailed, run
from atoll.policies.remotes.reach import Address, Reach
from atoll.policies.remotes.url import Remote, parse_remote, public_url

# git 2.37 learned http.curloptResolve; an older one passes over what it does not know.
_LEAST_GIT = (2, 37)
# Packs and bundles from other servers that a server may name are not fetched.
_NO_OTHERS = ("http.followRedirects=false", "transfer.bundleURI=false", "fetch.uriProtocols=")
_MOST_PRINTED_BYTES = 1 << 20
# An address of RFC 5737 at which nobody is: a name that a proxy resolves is not resolved here if the proxy is left out.
_NOWHERE = ipaddress.IPv4Address("192.0.2.1")


@dataclass(frozen=True)
class Pins:
    """What git is started with to go where it was judged to go: `-c` settings, and variables of its environment."""

    settings: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


async def pins_for(repository: str, reach: Reach, environment: Mapping[str, str], timeout_seconds: float) -> Pins:
    """Resolve and judge where a repository is, and say how git is held to it.

    Args:
        repository: its URL.
        reach: where the hub's Git goes.
        environment: what git is started with otherwise.
        timeout_seconds: for asking DNS and ssh.

    Raises:
        InvalidInput: the URL is malformed.
        AddressRefused: it leads out of reach.
        Unavailable: its name cannot be resolved now, or git cannot be held to an address.
    """
    remote = parse_remote(repository)
    if remote is None:
        return Pins()
    shown = public_url(repository)
    bounds = Bounds(timeout_seconds, _MOST_PRINTED_BYTES)
    if remote.scheme == "https":
        return await _https(remote, shown, reach, environment=environment, bounds=bounds)
    return await _ssh(remote, shown, reach, environment=environment, bounds=bounds)


def ssh_command(environment: Mapping[str, str]) -> str:
    """Give the command by which git starts ssh: the hub user's own, else one that asks nobody anything."""
    program = environment.get("GIT_SSH", "")
    return environment.get("GIT_SSH_COMMAND") or (shlex.quote(program) if program else "ssh -oBatchMode=yes")


async def _https(remote: Remote, shown: str, reach: Reach, *, environment: Mapping[str, str], bounds: Bounds) -> Pins:
    is_relayed = _has_proxy(remote.host)
    addresses = await _resolve(remote.host, shown, bounds, is_relayed=is_relayed)
    reach.check(shown, remote.host, addresses)
    if _literal(remote.host) is not None:
        return Pins(_NO_OTHERS)
    await _check_version(environment, bounds)
    pinned = ",".join(_bracketed(address) for address in addresses or (_NOWHERE,))
    return Pins((*_NO_OTHERS, f"http.curloptResolve={remote.host}:{remote.port_or_default}:{pinned}"))


async def _ssh(remote: Remote, shown: str, reach: Reach, *, environment: Mapping[str, str], bounds: Bounds) -> Pins:
    said = await _ssh_configuration(remote, environment, bounds)
    host = said.get("hostname", remote.host).lower()
    is_relayed = any(said.get(key, "none") != "none" for key in ("proxyjump", "proxycommand"))
    addresses = await _resolve(host, shown, bounds, is_relayed=is_relayed)
    reach.check(shown, host, addresses)
    if is_relayed or _literal(host) is not None:
        return Pins()
    port = said.get("port", str(remote.port_or_default))
    # The name under which known_hosts has the key (OpenSSH, sshconnect.c: put_host_port).
    known_as = said.get("hostkeyalias") or (host if port == "22" else f"[{host}]:{port}")
    held = ("-oHostName=" + str(addresses[0]), "-oHostKeyAlias=" + known_as)
    return Pins((), {"GIT_SSH_COMMAND": f"{ssh_command(environment)} {shlex.join(held)}"})


async def _resolve(host: str, shown: str, bounds: Bounds, *, is_relayed: bool) -> tuple[Address, ...]:
    """Give all addresses of a host, the nearest first; none only if somebody else resolves it."""
    if (literal := _literal(host)) is not None:
        return (literal,)
    try:
        async with asyncio.timeout(bounds.seconds):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise Unavailable(f"source.repository {shown}: DNS did not answer within {bounds.seconds:g} s") from error
    except (OSError, UnicodeError) as error:
        if is_relayed:
            return ()
        raise Unavailable(f"source.repository {shown}: no address of {host} is known: {error}") from error
    return tuple(dict.fromkeys(ipaddress.ip_address(each[4][0]) for each in found))


async def _ssh_configuration(remote: Remote, environment: Mapping[str, str], bounds: Bounds) -> dict[str, str]:
    """Ask ssh what the hub user's configuration makes of a host: names may be aliases of other names."""
    port = ("-p", str(remote.port)) if remote.port else ()
    whom = f"{remote.user}@{remote.host}" if remote.user else remote.host
    command = ("sh", "-c", f'{ssh_command(environment)} "$@"', "ssh", "-G", *port, whom)
    try:
        said = await run(command, "ssh -G", bounds, environment=environment)
    except ProgramFailed:  # no OpenSSH: it has no such configuration
        return {}
    pairs = (line.partition(" ") for line in said.decode(errors="replace").splitlines())
    return {key: value for key, _, value in pairs}


async def _check_version(environment: Mapping[str, str], bounds: Bounds) -> None:
    said = (await run(("git", "version"), "git version", bounds, environment=environment)).decode(errors="replace")
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < _LEAST_GIT:
        least = ".".join(map(str, _LEAST_GIT))
        raise Unavailable(f"{said.strip() or 'git'} cannot be held to an address; install git {least} or newer")


def _has_proxy(host: str) -> bool:
    """Say whether curl asks a proxy of this process's environment, which git inherits, for a host."""
    proxies = getproxies_environment()
    return bool(proxies.get("https") or proxies.get("all")) and not proxy_bypass(host, proxies)


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _bracketed(address: Address) -> str:
    return f"[{address}]" if address.version == 6 else str(address)
