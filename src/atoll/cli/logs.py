"""How Atoll's processes log: lines with keys on stderr, JSON where $ATOLL_LOG_FORMAT says so.

A line begins at the margin with its instant, and only a line does: what comes from outside can neither end one nor
begin one (CWE-117), wherever it stands in it.
"""

import logging
import os
import sys
import textwrap

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from atoll.cli.visible import visible, visible_line


def configure_logging(level: str) -> None:
    """Set up structlog for this process; only composition roots call it.

    Args:
        level: debug, info, warning or error.
    """
    logging.getLogger("asyncio").addFilter(_is_news)
    as_json = os.environ.get("ATOLL_LOG_FORMAT") == "json"
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _keep_in_line,
            _visible(renderer),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _keep_in_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Move a traceback in, whose last line is a message that may have lines of its own; the renderer quotes values."""
    event["event"] = visible_line(str(event["event"]))
    if "exception" in event:
        event["exception"] = textwrap.indent(event["exception"], "  ", lambda _line: True)
    return event


def _visible(renderer: Processor) -> Processor:
    """Have what a renderer makes of an event be fit for a terminal; its lines stay."""

    def render(logger: WrappedLogger, method: str, event: EventDict) -> str:
        return visible(str(renderer(logger, method, event)))

    return render


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out what asyncio says each time a TLS connection to NATS ends, and what nobody can act on.

    nats-py (aio/transport.py, connect_tls) makes its StreamReaderProtocol without saying that it is over TLS, and
    asyncio/sslproto.py then warns of that protocol's answer.
    """
    return "eof_received() has no effect when using ssl" not in str(record.msg)
