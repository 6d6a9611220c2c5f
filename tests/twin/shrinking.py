"""Makes of a story that breaks a guarantee a short one that breaks it still: fewer faults, less work, shorter faults.

Owns the order in which things are left out; whoever asks says whether a story still fails.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from twin.story import Story

# Lives of one story that are lived at most to shorten it.
MOST_TRIES = 60


def shortened(story: Story, still_fails: Callable[[Story], bool], *, most_tries: int = MOST_TRIES) -> Story:
    """Give a story of which nothing more can be left out, or the best that so many tries gave."""
    tries = 0
    while True:
        for smaller in _smaller(story):
            if tries >= most_tries:
                return story
            tries += 1
            if still_fails(smaller):
                story = smaller
                break
        else:
            return story


def _smaller(story: Story) -> Iterator[Story]:
    """Give stories with one thing less: the largest steps first."""
    if len(story.faults) > 2:
        half = len(story.faults) // 2
        yield replace(story, faults=story.faults[half:])
        yield replace(story, faults=story.faults[:half])
    for fault in story.faults:
        yield story.without(fault)
    for work in story.work:
        if len(story.work) > 1:
            yield replace(story, work=tuple(one for one in story.work if one is not work))
    for commit in range(len(story.commits)):
        yield replace(story, commits=story.commits[:commit] + story.commits[commit + 1 :])
    if any(rate != 1.0 for rate in story.rates.values()) or any(story.skews.values()):
        yield replace(story, rates={}, skews={})
