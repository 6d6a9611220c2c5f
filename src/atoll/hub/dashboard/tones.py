"""In which tone a word is shown: the same word has the same colour on every page. Pure.

Owns the tones of phases and states. What a policy set has proven has tones of its own (`templates/policy/draw.html`): a
cluster that is not heard goes on to enforce what it holds.
"""

from collections.abc import Mapping

_WORDS: Mapping[str, tuple[str, ...]] = {
    "good": ("Ready", "Succeeded", "Complete"),
    "busy": ("Placed", "Running", "Committing", "Copying", "Growing", "Staging", "Starting"),
    "warn": ("Degraded", "Lacking"),
    "bad": ("Unreachable", "Failed", "Damaged", "Incomplete"),
    "idle": ("Pending", "Waiting", "Empty"),
    "sleep": ("Asleep", "Cancelled"),
}
_TONES: Mapping[str, str] = {word.lower(): tone for tone, words in _WORDS.items() for word in words}


def tone(word: str) -> str:
    """Give the tone of a phase or state: good, busy, warn, bad, idle or sleep; empty for what is none of them."""
    return _TONES.get(word.lower(), "")
