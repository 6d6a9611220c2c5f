"""A link carries each packet as it is, unless it was told to go wrong; then it goes wrong in that way and no other."""

import struct
from itertools import pairwise

import pytest

from rig.packets import SOUND, Delivery, Impairment, Link, Segment, Way, checksum

_HOST, _CENTRE = bytes((127, 9, 0, 1)), bytes((127, 0, 0, 1))
_NEAR, _FAR = 40_000, 4222
_SYN, _ACK, _RST, _PUSH = 0x02, 0x10, 0x04, 0x08


def packet(
    flags: int = _ACK | _PUSH, payload: bytes = b"", *, way: Way = "up", ports: tuple[int, int] = (_NEAR, _FAR)
) -> bytes:
    """Make a segment with sequence number 1000 that acknowledges 2000, from the host or to it."""
    source, target = (_HOST, _CENTRE) if way == "up" else (_CENTRE, _HOST)
    near, far = ports if way == "up" else ports[::-1]
    tcp = struct.pack("!HHIIBBHHH", near, far, 1000, 2000, 5 << 4, flags, 1024, 0, 0) + payload
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, source, target) + tcp


def link_with_a_connection(impairment: Impairment = SOUND) -> Link:
    link = Link((_FAR,), seed=7)
    link.carry(packet(_SYN), "up", 0.0)
    link.impair(impairment, 0.0)
    return link


def carried(link: Link, way: Way = "up", *, now: float = 0.0, payload: bytes = b"x", times: int = 1) -> list[Delivery]:
    return [each for _ in range(times) for each in link.carry(packet(payload=payload, way=way), way, now)]


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_sound_link_carries_every_packet_once_at_once_and_unchanged(way: Way) -> None:
    assert carried(link_with_a_connection(), way) == [Delivery(packet(payload=b"x", way=way), way)]


@pytest.mark.parametrize(
    ("impairment", "up", "down"),
    [
        (Impairment(is_mute=True), 0, 1),
        (Impairment(is_deaf=True), 1, 0),
        (Impairment(is_deaf=True, is_mute=True), 0, 0),
        (Impairment(lost=1.0), 0, 0),
        (Impairment(twice=1.0), 2, 2),
    ],
)
def test_an_impairment_takes_what_it_says_and_in_that_direction_only(
    impairment: Impairment, up: int, down: int
) -> None:
    link = link_with_a_connection(impairment)
    assert (len(carried(link, "up")), len(carried(link, "down"))) == (up, down)


def test_a_mended_link_is_as_if_nothing_had_been() -> None:
    link = link_with_a_connection(Impairment(is_deaf=True, is_mute=True))
    assert carried(link) == []
    link.impair(SOUND, 1.0)
    assert len(carried(link, now=1.0)) == 1


def test_a_share_of_packets_is_lost_and_the_same_ones_for_the_same_seed() -> None:
    some = [len(carried(link_with_a_connection(Impairment(lost=0.3)), times=2000)) for _ in range(2)]
    assert some[0] == some[1]
    assert 1300 < some[0] < 1500


def test_late_packets_overtake_each_other() -> None:
    late = carried(link_with_a_connection(Impairment(delay_seconds=0.1, jitter_seconds=0.2)), times=100)
    assert all(0.1 <= each.after_seconds <= 0.3 for each in late)
    assert any(one.after_seconds > other.after_seconds for one, other in pairwise(late))


def test_only_large_packets_vanish_in_a_black_hole() -> None:
    link = link_with_a_connection(Impairment(largest_bytes=500))
    assert len(carried(link, payload=b"x" * 460)) == 1
    assert carried(link, payload=b"x" * 461) == []


def test_a_flapping_link_is_silent_and_sound_in_turns() -> None:
    link = link_with_a_connection(Impairment(flaps_seconds=2.0))
    assert [len(carried(link, now=second)) for second in (0.0, 1.9, 2.1, 3.9, 4.1)] == [0, 0, 1, 1, 0]


def test_what_goes_elsewhere_suffers_nothing() -> None:
    link = link_with_a_connection(Impairment(is_deaf=True, is_mute=True))
    other = packet(ports=(_NEAR, _FAR + 1))
    ping = b"\x45" + bytes(8) + b"\x01" + bytes(18)
    assert link.carry(other, "up", 0.0) == [Delivery(other, "up")]
    assert link.carry(ping, "down", 0.0) == [Delivery(ping, "down")]


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_firewall_that_forgot_lets_nothing_of_before_through_however_often_the_link_is_mended(way: Way) -> None:
    link = link_with_a_connection()
    link.forget(resets=False)
    link.impair(SOUND, 1.0)
    assert carried(link, way) == []


def test_a_firewall_that_forgot_lets_what_begins_afterwards_through_in_both_directions() -> None:
    link = link_with_a_connection()
    link.forget(resets=False)
    assert len(link.carry(packet(_SYN), "up", 0.0)) == 1
    assert (len(carried(link, "up")), len(carried(link, "down"))) == (1, 1)


def test_nobody_begins_a_connection_from_outside() -> None:
    assert Link((_FAR,)).carry(packet(_SYN, way="down"), "down", 0.0) == []


@pytest.mark.parametrize(("way", "back"), [("up", "down"), ("down", "up")])
def test_a_firewall_that_resets_answers_the_sender_with_what_the_sender_believes(way: Way, back: Way) -> None:
    link = link_with_a_connection()
    link.forget(resets=True)
    (answer,) = carried(link, way)
    assert answer.way == back
    read, sent = Segment.read(answer.packet), Segment.read(packet(payload=b"x", way=way))
    assert read is not None
    assert sent is not None
    assert (read.addresses, read.ports) == (sent.addresses[::-1], sent.ports[::-1])
    assert (read.sequence, read.flags) == (2000, _RST)


def test_a_reset_of_a_segment_without_an_acknowledgement_acknowledges_all_of_it() -> None:
    segment = Segment.read(packet(_SYN, b"abc"))
    assert segment is not None
    answer = Segment.read(segment.refusal())
    assert answer is not None
    assert (answer.sequence, answer.acknowledged, answer.flags) == (0, 1004, _RST | _ACK)


def test_a_reset_has_the_checksums_that_a_kernel_asks_for() -> None:
    segment = Segment.read(packet())
    assert segment is not None
    answer = segment.refusal()
    assert checksum(answer[:20]) == 0
    assert checksum(answer[12:20] + struct.pack("!BBH", 0, 6, 20) + answer[20:]) == 0


def test_a_reset_is_not_answered() -> None:
    link = link_with_a_connection()
    link.forget(resets=True)
    assert link.carry(packet(_RST), "up", 0.0) == []


@pytest.mark.parametrize("length", [0, 1, 19, 20, 39])
def test_what_is_no_whole_segment_is_carried_unread(length: int) -> None:
    short = packet(_SYN)[:length]
    assert Link((_FAR,)).carry(short, "up", 0.0) == [Delivery(short, "up")]
