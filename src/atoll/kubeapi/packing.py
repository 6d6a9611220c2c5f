"""A compact form of JSON texts that resemble each other, as the objects of one resource do. The door to zstandard.

Owns the dictionaries; must not know what a text means. A Job of 3.3 KB takes about 160 bytes beside others of its kind,
5 µs to pack and 4 µs to unpack, which is less than to encode it (benchmarks/kubeapi, memory and lists).
"""

from __future__ import annotations

import threading

import zstandard

_LEVEL = 1  # higher ones gain nothing: what repeats is in the dictionary
# A dictionary of a few texts is as good as one of many; these are spread over what came since the one before.
_SAMPLES = 8
_SAMPLES_BYTES = 128 * 1024
# The first texts are kept as they are: few need no packing. Then the dictionary is renewed whenever this many times as
# many texts came as before, since objects change their shape over their life. Old texts keep their dictionary.
_FIRST_DICTIONARY_AT = 64
_RENEWED_AFTER = 8


class Packing:
    """One dictionary, and how to use it. It lives as long as something that was packed with it."""

    __slots__ = ("_compressor", "_decompressor", "_unpacking")

    def __init__(self, samples: list[bytes]) -> None:
        """Use texts as the dictionary."""
        text = b"".join(samples)[-_SAMPLES_BYTES:]
        dictionary = zstandard.ZstdCompressionDict(text, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        dictionary.precompute_compress(level=_LEVEL)
        self._compressor = zstandard.ZstdCompressor(
            level=_LEVEL, dict_data=dictionary, write_checksum=False, write_dict_id=False
        )
        self._decompressor = zstandard.ZstdDecompressor(dict_data=dictionary)
        self._unpacking = threading.Lock()

    def pack(self, text: bytes) -> bytes:
        """Return the compact form."""
        packed = self._compressor.compress(text)
        return bytes(memoryview(packed))  # zstandard 0.25 gives bytes that still occupy the room of the worst case

    def unpack(self, packed: bytes) -> bytes:
        """Return the text; in any thread. A decompressor is not for two at once: the process would crash."""
        with self._unpacking:
            return self._decompressor.decompress(packed)


class Packer:
    """Packs the texts of one resource, and learns from them how."""

    __slots__ = ("_count", "_packing", "_renew_at", "_samples", "_sparse")

    def __init__(self) -> None:
        """Know no text."""
        self._count = 0
        self._packing: Packing | None = None
        self._samples: list[bytes] = []
        self._renew_at = _FIRST_DICTIONARY_AT
        self._sparse = _FIRST_DICTIONARY_AT // _SAMPLES

    def pack(self, text: bytes) -> tuple[bytes, Packing | None]:
        """Return the compact form and what unpacks it, or the text and None."""
        self._count += 1
        if self._count % self._sparse == 0:
            self._learn(text)
        if self._packing is None:
            return text, None
        return self._packing.pack(text), self._packing

    def _learn(self, text: bytes) -> None:
        self._samples.append(text)
        if self._count >= self._renew_at:
            self._packing = Packing(self._samples)
            self._samples = []
            self._renew_at *= _RENEWED_AFTER
            self._sparse = self._renew_at // _SAMPLES
