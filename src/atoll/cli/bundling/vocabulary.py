"""Which words may leave a federation: those of Atoll's own program text, numbers, dates, and the names of objects.

Everything else becomes `…`: a secret is not recognized here, it is merely not among what is known. Pure but for reading
the program's own files.
"""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import atoll

HIDDEN = "…"
# What stands between words in messages, logs and paths.
_SPLIT = re.compile(r"([\s=,;:()\[\]{}\"'<>|/@\\]+)")
_WORD = re.compile(r"[A-Za-z][A-Za-z-]*")
_LONGEST_WORD = 40
# Amounts, durations, versions of three parts, and dates. Digits in a row are few: a longer number may be a password.
_NUMBER = re.compile(
    r"[+-]?\d{1,6}(\.\d{1,9})?(%|s|ms|m|h|d|B|KiB|MiB|GiB|TiB|Ki|Mi|Gi|Ti)?"
    r"|(\d{1,3}[hdms]){1,4}|v?\d{1,3}\.\d{1,3}\.\d{1,3}|v\d{1,2}((alpha|beta)\d)?"
    r"|\d{4}-\d{2}-\d{2}(T\d{2})?|\d{2}\.\d{1,9}(Z|\+00)?"
)
_PUNCTUATION = re.compile(r"[-→.!?…*#%+&]*")


class Vocabulary:
    """Lets words through."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        """`names` are those of the federation's objects."""
        self._names = frozenset(names)

    def filter(self, text: str) -> str:
        """Give a text without the words that are not known."""
        return "".join(part if index % 2 else self._word(part) for index, part in enumerate(_SPLIT.split(text)))

    def _word(self, word: str) -> str:
        bare = word.rstrip(".!?…").removesuffix("'s")
        if word in self._names or bare in self._names or self._is_plain(bare):
            return word
        return HIDDEN

    @staticmethod
    def _is_plain(word: str) -> bool:
        return bool(_PUNCTUATION.fullmatch(word) or _NUMBER.fullmatch(word)) or word in program_words()


@cache
def program_words() -> frozenset[str]:
    """Give the words of the program's own text; reading it takes a fraction of a second."""
    files = sorted(Path(atoll.__file__).parent.rglob("*.py"))
    words = {word for file in files for word in _WORD.findall(file.read_text(encoding="utf-8"))}
    return frozenset(word for word in words if len(word) <= _LONGEST_WORD)
