"""What the servers of a NATS say of themselves: one question, an answer from each of them.

Owns the asking, by the system account. It must not know what the answers mean.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from atoll.federation.bus.answers import read_answer
from atoll.federation.bus.link import Link
from atoll.federation.errors import Internal

if TYPE_CHECKING:
    from nats.aio.msg import Msg

_PREFIX = "$SYS.REQ.SERVER.PING"
# A server of the same cluster answers within milliseconds; one that does not within this is told to be silent.
_ANSWER_SECONDS = 2.0
# What a server gives of its connections at once unless told otherwise (nats-server, `DefaultConnListSize`).
_PAGE = 1024


async def servers(system: Link) -> list[str]:
    """Count the servers that answer, by their names; several may bear the same.

    Raises:
        Unavailable: none answers.
    """
    return [str(each["server"]["name"]) for each in await survey(system, "STATSZ")]


async def survey(system: Link, topic: str, question: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Ask all servers about a topic, such as JSZ; give their answers, those that came in time.

    Raises:
        Unavailable: none answers.
    """
    subject, body = f"{_PREFIX}.{topic}", orjson.dumps(question or {})
    first = read_answer(await system.ask(f"{_PREFIX}.STATSZ", b"", timeout_seconds=_ANSWER_SECONDS))
    expected = int(first.get("statsz", {}).get("active_servers") or 1)
    if expected == 1:
        return [read_answer(await system.ask(subject, body, timeout_seconds=_ANSWER_SECONDS))]
    return await _gather(system, subject, body, expected)


async def connections(system: Link, account: str) -> list[dict[str, Any]]:
    """Give every connection of an account, as the servers list them, with the credentials that it showed.

    Raises:
        Unavailable: no server answers.
    """
    found: list[dict[str, Any]] = []
    offset = 0
    while True:
        question = {"auth": True, "acc": account, "limit": _PAGE, "offset": offset}
        pages = [dict(each.get("data") or {}) for each in await survey(system, "CONNZ", question)]
        found += [dict(one) for page in pages for one in page.get("connections") or ()]
        offset += _PAGE
        if all(int(page.get("total", 0)) <= offset for page in pages):
            return found


async def _gather(system: Link, subject: str, body: bytes, expected: int) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    complete = asyncio.Event()

    def take(message: "Msg") -> None:
        try:
            answers.append(read_answer(message.data))
        except Internal:
            return
        if len(answers) >= expected:
            complete.set()

    inbox = system.new_inbox()
    subscription = await system.subscribe(inbox, take)
    try:
        await system.publish(subject, body, reply=inbox)
        await asyncio.wait({waiting := asyncio.ensure_future(complete.wait())}, timeout=_ANSWER_SECONDS)
        waiting.cancel()
    finally:
        await system.unsubscribe(subscription)
    return answers
