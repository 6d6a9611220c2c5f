"""What goes wrong with packets of hubs and members, where they have network namespaces: links are `rig/hosts.py`'s.

Unlike a wire's, these faults are met by TCP: it sends again and waits longer each time, and nobody is told.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from campaign.scene import Does, Scene
from campaign.schedule import Planned
from rig.packets import SOUND, Impairment

# Half of a second and less is TCP's own first waiting; seconds are those of keepalives.
_FLAPS_SECONDS = (0.5, 1.5, 4.0)
_LOST = (0.05, 0.2, 0.4)
# A NATS client's credentials do not fit into the first, nor a full segment into any.
_LARGEST_BYTES = (500, 1000, 1400)


def faults(name: str) -> Mapping[str, Does]:
    """Give what may happen to the packets of a hub, a cluster's agent, or a gateway."""
    return {
        f"{name}'s link silent": _impairs(lambda chance: Impairment(is_deaf=True, is_mute=True)),
        f"{name}'s link silent one way": _impairs(_one_way),
        f"{name}'s link flapping": _impairs(lambda chance: Impairment(flaps_seconds=chance.choice(_FLAPS_SECONDS))),
        f"{name}'s packets lost": _impairs(lambda chance: Impairment(lost=chance.choice(_LOST))),
        f"{name}'s packets late, twice and out of order": _impairs(_disorder),
        f"{name}'s large packets lost": _impairs(
            lambda chance: Impairment(largest_bytes=chance.choice(_LARGEST_BYTES))
        ),
        f"{name}'s firewall forgets": _forgets(resets=False),
        f"{name}'s firewall forgets and resets": _forgets(resets=True),
    }


def _one_way(chance: random.Random) -> Impairment:
    is_deaf = chance.random() < 0.5
    return Impairment(is_deaf=is_deaf, is_mute=not is_deaf)


def _disorder(chance: random.Random) -> Impairment:
    delay = chance.choice((0.005, 0.1, 0.3))
    return Impairment(twice=0.15, delay_seconds=delay, jitter_seconds=delay * 2)


def _impairs(choose: Callable[[random.Random], Impairment]) -> Does:
    @contextmanager
    def impair(scene: Scene, fault: Planned) -> Iterator[None]:
        host = scene.federation.hosts[fault.place]
        host.impair(choose(random.Random(fault.salt)))
        try:
            yield
        finally:
            host.impair(SOUND)

    return impair


def _forgets(*, resets: bool) -> Does:
    @contextmanager
    def forget(scene: Scene, fault: Planned) -> Iterator[None]:
        scene.federation.hosts[fault.place].forget(resets=resets)
        yield

    return forget
