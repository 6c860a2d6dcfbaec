"""Small regions give way to what is around them.

A region is what `utils.prediction.regions` takes for one: pixels of one class that hang together
by edges or corners; the background's too, so that small holes are closed.

While there are regions of fewer pixels than asked for, the smallest of all (of equally small ones,
the one whose first pixel comes first, row by row) takes the class with which it shares the most
sides of pixels (of several, the lowest id). So it becomes one with the regions of that class that
it touches. In the end no region is smaller, unless the whole image is one.
"""

from heapq import heapify, heappop, heappush

import numpy as np

from utils.prediction.regions import number_regions

_STRIP = 2**20  # pixels that are compared with their neighbours at a time


def drop_small_regions(mask, least):
    """Gives the pixels of small regions to the classes around them.

    Args:
        mask: uint8 (H, W), class ids.
        least: int, pixels of the smallest region that may stay; up to 1 changes nothing.

    Returns:
        uint8 (H, W); `mask` itself if nothing changes.
    """
    if least <= 1:
        return mask
    numbers, parts = number_regions(mask, 256)
    if len(parts) == 1 or all(part.area >= least for part in parts):
        return mask
    graph = _Graph(numbers, parts)
    graph.merge(least)
    return graph.classes()[numbers]


class _Graph:
    """Which regions touch, and along how many sides of pixels; regions by their number."""

    def __init__(self, numbers, parts):
        width = numbers.shape[1]
        self._class = [0, *(part.class_id for part in parts)]
        self._area = [0, *(part.area for part in parts)]
        self._first = [0, *(part.first[0] * width + part.first[1] for part in parts)]
        self._owner = list(range(len(self._area)))
        self._sides = [{} for _ in self._area]
        for a, b, count in _touching(numbers):
            self._sides[a][b] = self._sides[a].get(b, 0) + count
            self._sides[b][a] = self._sides[b].get(a, 0) + count

    def merge(self, least):
        """Merges regions until none but the whole image has fewer pixels than `least`."""
        heap = [
            (area, self._first[number], number)
            for number, area in enumerate(self._area)
            if 0 < area < least
        ]
        heapify(heap)
        while heap:
            area, _, number = heappop(heap)
            # It may have become part of another, or have grown.
            if self._owner[number] != number or self._area[number] != area:
                continue
            if not self._sides[number]:
                return  # the whole image
            grown = self._give_way(number)
            if self._area[grown] < least:
                heappush(heap, (self._area[grown], self._first[grown], grown))

    def _give_way(self, number):
        """Gives a region the class around it; the number of the region that it is now in."""
        totals = {}
        for other, sides in self._sides[number].items():
            totals[self._class[other]] = totals.get(self._class[other], 0) + sides
        taken = min(totals, key=lambda class_id: (-totals[class_id], class_id))
        self._class[number] = taken
        group = [number, *(one for one in self._sides[number] if self._class[one] == taken)]
        # The one with most neighbours takes up the others: that is the least work.
        owner = max(group, key=lambda one: len(self._sides[one]))
        for one in group:
            if one != owner:
                self._join(one, owner)
        return owner

    def _join(self, number, owner):
        for other, sides in self._sides[number].items():
            del self._sides[other][number]
            if other != owner:
                self._sides[owner][other] = self._sides[owner].get(other, 0) + sides
                self._sides[other][owner] = self._sides[other].get(owner, 0) + sides
        self._sides[number] = {}
        self._owner[number] = owner
        self._area[owner] += self._area[number]
        self._first[owner] = min(self._first[owner], self._first[number])

    def classes(self):
        """uint8 (N,): the class of each number."""
        found = np.empty(len(self._owner), np.uint8)
        for number in range(len(self._owner)):
            owner = number
            while self._owner[owner] != owner:
                owner = self._owner[owner]
            self._owner[number] = owner
            found[number] = self._class[owner]
        return found


def _touching(numbers):
    """Yields (region, another, sides of pixels that they share; 0 by corners alone)."""
    height, width = numbers.shape
    step = max(1, _STRIP // width)
    for top in range(0, height, step):
        upper = numbers[top : top + step]
        lower = numbers[top + 1 : top + step + 1]
        above = upper[: len(lower)]
        by_sides = [_pairs(upper[:, :-1], upper[:, 1:]), _pairs(above, lower)]
        pairs, counts = np.unique(np.concatenate(by_sides), axis=0, return_counts=True)
        yield from zip(*pairs.T.tolist(), counts.tolist(), strict=True)
        corners = [_pairs(above[:, :-1], lower[:, 1:]), _pairs(above[:, 1:], lower[:, :-1])]
        pairs = np.unique(np.concatenate(corners), axis=0)
        yield from ((a, b, 0) for a, b in pairs.tolist())


def _pairs(one, other):
    differs = one != other
    pairs = np.stack([one[differs], other[differs]], axis=1)
    return np.sort(pairs, axis=1)
