"""What git says when a fetch fails: who must act, or where the repository is now.

Owns reading git's messages. Pure: it must start nothing.
"""

import re
import signal
from urllib.parse import urljoin

from atoll.federation.errors import AtollError, InvalidInput, NotFound, Unavailable
from atoll.policies.remotes.url import public_url
from atoll.policies.validation.shapes import show

# Variables with which git tells of the answers that it gets (git(1), GIT_TRACE_CURL), without credentials and bodies.
TELL_ANSWERS = {"GIT_TRACE_CURL": "1", "GIT_TRACE_CURL_NO_DATA": "1", "GIT_TRACE_REDACT": "1"}
# What a server says stands in a condition.
_LONGEST_CAUSE = 500
# Begins with what is rare: a letter would be tried from each of a million.
_USERS = re.compile(r"://[^/\s]*@")
_LOCATION = re.compile(r"Recv header: location:\s*(\S+)", re.IGNORECASE)
_REDIRECTED = re.compile(r"returned error: 30[12378]\b")
# What git asks a server first (gitprotocol-http(5), "Discovering References"); without the query one of plain files.
_DISCOVERIES = ("/info/refs?service=git-upload-pack", "/info/refs")


def is_redirected(stderr: str) -> bool:
    """Say whether a fetch failed because the server answers with another place."""
    return _REDIRECTED.search(stderr) is not None


def redirect_target(repository: str, trace: str) -> str:
    """Read from what git told of an answer (TELL_ANSWERS) which repository it redirects to.

    Raises:
        InvalidInput: it is none, or not over https.
    """
    found = _LOCATION.search(trace)
    location = found[1] if found else ""
    try:
        target = urljoin(public_url(repository) + _DISCOVERIES[0], location)
    except ValueError:  # brackets around what is no address
        target = ""
    place = next((target.removesuffix(end) for end in _DISCOVERIES if target.endswith(end)), "")
    if not place.startswith("https://"):
        raise InvalidInput(
            f"source.repository {public_url(repository)} redirects to {show(public_url(target or location))}, "
            "which is no repository over https; check the URL, and whether it needs credentials"
        )
    return place


def fetch_error(repository: str, stderr: str) -> AtollError:
    """Say who must act: the owner of the source, or nobody but time."""
    name = public_url(repository)
    if "couldn't find remote ref HEAD" in stderr:
        return NotFound(f"source.revision 'HEAD': {name} has no commit yet; push one or name a branch")
    if "dubious ownership" in stderr:
        return InvalidInput(
            f"source.repository {name} belongs to another user; run git config --global --add safe.directory {name}"
        )
    if "does not appear to be a git repository" in stderr or "not found" in stderr:
        return NotFound(f"source.repository {name} is no Git repository, or there is nothing there: check the URL")
    if f"signal {signal.SIGXFSZ.value}" in stderr or "File too large" in stderr:
        return InvalidInput(f"source.repository {name} sends more than the hub takes: give policies one of their own")
    return Unavailable(f"source.repository {name} cannot be read: {cause(stderr)}")


def cause(stderr: str) -> str:
    """Give the first line that says what is wrong, without passwords: git ends with advice over several lines."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    found = next((line for line in lines if not line.lower().startswith("warning:")), "no message")
    return _USERS.sub("://", found)[:_LONGEST_CAUSE]
