"""What `login` does: take a token, see whether the hub takes it, and keep it as a context."""

import getpass
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

from atoll.cli.api import Api
from atoll.cli.contexts import tell_overridden
from atoll.cli.hub import checked_address, trusted_ca
from atoll.cli.identities import Identity, describe, identify
from atoll.cli.output import hint
from atoll.federation.errors import Conflict, InvalidInput, Unauthorized
from atoll.local import kubeconfig
from atoll.local.credentials import Credentials
from atoll.local.kubeconfig import Context, Kubeconfig
from atoll.local.kubeconfig_file import file_to_write, user_files

_PROBE_SECONDS = 5.0


def read_token(given: str, *, from_stdin: bool) -> str:
    """Take the token from the command line, from standard input, or from who sits at the terminal, unseen.

    Raises:
        InvalidInput: there is none.
    """
    if given and from_stdin:
        raise InvalidInput("give --token or --token-stdin, not both")
    if given:
        token = given
    elif from_stdin:
        token = sys.stdin.read()
    elif sys.stdin.isatty():
        token = getpass.getpass("Token: ")
    else:
        raise InvalidInput("no terminal to ask for the token on: give it with --token-stdin")
    return _checked(token.strip())


def login(url: str, token: str, *, ca_file: Path | None, name: str) -> Identity:
    """Check the token with the hub and make it the current context; give who it stands for.

    Raises:
        Unauthorized: the hub does not take the token, or its certificate is not to be trusted.
        Conflict: the context's name belongs to another program or another hub.
    """
    server = checked_address(url)
    credentials = Credentials(ca=trusted_ca(server, ca_file), token=token)
    files = user_files()
    chosen = _context_name(server, name, Kubeconfig.read(files))
    try:
        with Api(server, credentials) as api:
            identity = identify(api)
    except Unauthorized as error:
        raise Unauthorized(f"{error}{_fingerprint(server, credentials)}") from error
    kubeconfig.put(file_to_write(files), Context(chosen, server, credentials), use=True)
    for line in describe(identity):
        hint(line)
    hint(f"kubectl and atoll now use the context {chosen} (in {file_to_write(files)})")
    tell_overridden()
    return identity


def _checked(token: str) -> str:
    """Refuse what is no token before it is sent anywhere; the message does not repeat it."""
    if not token:
        raise InvalidInput("the token is empty")
    if not token.isascii() or any(not character.isprintable() or character == " " for character in token):
        raise InvalidInput("that is no token: it holds blanks or characters that no token has")
    return token


def _context_name(server: str, name: str, found: Kubeconfig) -> str:
    chosen = name or f"atoll-{urlsplit(server).netloc.rpartition('@')[2]}".replace(":", "-")
    if found.is_taken(chosen, home=""):
        raise Conflict(f"the kubeconfig has a '{chosen}' already that belongs to something else: use --context NAME")
    return chosen


def _fingerprint(server: str, credentials: Credentials) -> str:
    """Give the fingerprint of the certificate that a server shows, to compare it by phone; empty if that is no help."""
    address = urlsplit(server)
    if credentials.ca or address.scheme != "https" or not address.hostname:
        return ""
    try:
        shown = ssl.get_server_certificate((address.hostname, address.port or 443), timeout=_PROBE_SECONDS)
    except OSError:
        return ""
    from atoll.local.certificates import fingerprint

    return f"\n  it showed the certificate with the SHA-256 fingerprint {fingerprint(shown.encode())}"
