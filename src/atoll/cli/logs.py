"""How Atoll's processes log: lines with keys on stderr, JSON where $ATOLL_LOG_FORMAT says so."""

import logging
import os
import sys

import structlog


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
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out what asyncio says each time a TLS connection to NATS ends, and what nobody can act on.

    nats-py (aio/transport.py, connect_tls) makes its StreamReaderProtocol without saying that it is over TLS, and
    asyncio/sslproto.py then warns of that protocol's answer.
    """
    return "eof_received() has no effect when using ssl" not in str(record.msg)
