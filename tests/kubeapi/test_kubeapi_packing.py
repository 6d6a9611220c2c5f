"""Packed texts are what they were, whoever reads them."""

from concurrent.futures import ThreadPoolExecutor

from atoll.kubeapi.packing import Packer


def _text(number: int) -> bytes:
    return b'{"kind":"Job","metadata":{"name":"work-%06d"},"spec":{"queue":"lab.a","args":["%s"]}}' % (
        number,
        b"part of a long command line " * (number % 40),
    )


def test_texts_are_unpacked_by_several_threads_at_once() -> None:
    """The scheduler reads jobs in a thread while the event loop reads others of the same packing."""
    packer = Packer()
    packed = [(_text(number), *packer.pack(_text(number))) for number in range(3000)]

    def differing() -> int:
        return sum(text != (packing.unpack(small) if packing else small) for text, small, packing in packed)

    with ThreadPoolExecutor(4) as threads:
        assert [each.result() for each in [threads.submit(differing) for _ in range(8)]] == [0] * 8
