"""The time that remains of a sweep, from the speed of each of its groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping


class Pace:
    """Speed of groups whose images take different times.

    Args:
        images: number of images of each group.
    """

    def __init__(self, images: Mapping[str, int]) -> None:
        self._remaining = dict(images)
        self._worked: dict[str, int] = defaultdict(int)
        self._seconds: dict[str, float] = defaultdict(float)

    def add(self, key: str, images: int, seconds: float | None) -> None:
        """Count images of a group as done, in `seconds` of work; None if they were done before."""
        self._remaining[key] = self._remaining.get(key, 0) - images
        if seconds is not None:
            self._worked[key] += images
            self._seconds[key] += seconds

    def left(self, elapsed: float) -> float | None:
        """Seconds that remain; None until some work is done.

        Args:
            elapsed: seconds since the sweep began. What was worked in them, perhaps by several processes at once, tells
                how fast the rest goes.
        """
        worked, seconds = sum(self._worked.values()), sum(self._seconds.values())
        if not worked or seconds <= 0:
            return None
        rest = sum(images * self._seconds_per_image(key, seconds / worked) for key, images in self._remaining.items())
        return rest * elapsed / seconds

    def _seconds_per_image(self, key: str, mean: float) -> float:
        return self._seconds[key] / self._worked[key] if self._worked[key] else mean
