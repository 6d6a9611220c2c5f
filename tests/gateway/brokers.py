"""Brokers as the gateway has them: started with topics, asked until they say something, closed with the test."""

import contextlib
from collections.abc import AsyncIterator, Callable

from datapath import until

from atoll.edge.gateway.mqtt import Broker


@contextlib.asynccontextmanager
async def starting() -> AsyncIterator[Callable[..., Broker]]:
    """Give what starts a broker with topic filters; all that it has started are closed at the end."""
    started: list[Broker] = []

    def start(broker: Broker, *filters: str) -> Broker:
        broker.subscribe(dict.fromkeys(filters, 1))
        broker.start()
        started.append(broker)
        return broker

    yield start
    for broker in started:
        await broker.close()


async def says(broker: Broker, text: str) -> None:
    """Wait until a broker's problem has this in it."""

    async def asked() -> bool:
        return text in broker.problem

    await until(asked)


async def subscribed(broker: Broker) -> None:
    """Wait until a broker holds its subscriptions."""

    async def asked() -> bool:
        return broker.is_subscribed

    await until(asked)
