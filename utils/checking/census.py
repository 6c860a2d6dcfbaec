"""What the masks of a set hold together: the evidence for what their values mean.

Memory: some numbers for each value, colour and set of values, however many masks there are.
"""

from collections import Counter, defaultdict
from typing import NamedTuple

from utils.checking.content import GREY_CODE

_FIRST = 2  # files named with each value


class Doubt(NamedTuple):
    """Evidence that speaks against taking the masks as they are.

    Attributes:
        kind: str, a key of `utils.checking.problems.PROBLEMS`.
        detail: str, the evidence.
        count: int, masks that it concerns.
        decided: bool, whether a corrected copy can be written without a further setting.
    """

    kind: str
    detail: str
    count: int
    decided: bool = True


class Census:
    """Counts over the masks of a set. What anti-aliasing left along edges is not counted.

    Attributes:
        files: int, masks counted.
        pixels, images: Counters of the pixels and masks of each value.
        thin: Counter of the masks in which a value hardly ever fills an area.
        groups: Counter of the masks for each set of values.
        smoothed: bool, whether some mask was smoothed.
        colors: Counter of the pixels of each colour (0xRRGGBB) of coloured masks.
        color_files: int, coloured masks.
        opaque: Counter of what is not transparent in masks that are partly so, as colours.
        grey: set of the values in masks without a palette.
        palettes: dict from each value to a Counter of its colours, over the masks with palette.
        palette_groups: Counter of the masks for each set of (value, colour).
        cells: Counter of the masks by how many objects their values count, as ids of instances.
        objects: int, masks with a value above 0.
    """

    def __init__(self):
        self.files = self.color_files = self.objects = 0
        self.pixels, self.images, self.thin = Counter(), Counter(), Counter()
        self.groups, self.palette_groups, self.cells = Counter(), Counter(), Counter()
        self.colors, self.opaque = Counter(), Counter()
        self.palettes = defaultdict(Counter)
        self.smoothed = False
        self._solid, self.grey = set(), set()
        self._sets, self._first = {}, {}

    def add(self, summary, name=""):
        """Counts a mask in.

        Args:
            summary: `utils.checking.content.MaskSummary`.
            name: str, for messages.
        """
        self.files += 1
        self.smoothed |= bool(summary.smooth)
        if summary.clear:
            self._add_opaque(summary)
        elif summary.colored:
            edges = {value * GREY_CODE for value in summary.smooth}
            self.color_files += 1
            self.colors.update({c: n for c, n in summary.counts.items() if c not in edges})
            for code in summary.counts:
                self._note(("color", code), name)
        else:
            self._add_values(summary, name)

    def _add_opaque(self, summary):
        factor = 1 if summary.colored else GREY_CODE
        self.opaque.update({value * factor: n for value, n in summary.counts.items()})

    def _add_values(self, summary, name):
        smooth = set(summary.smooth)
        counts = {value: n for value, n in summary.counts.items() if value not in smooth}
        self.pixels.update(counts)
        self.images.update(counts.keys())
        self.thin.update(value for value in summary.thin if value in counts)
        self._solid |= set(counts) - set(summary.smooth or summary.thin)
        present = frozenset(counts)
        self.groups[self._sets.setdefault(present, present)] += 1
        objects = [value for value in counts if value > 0]
        self.objects += bool(objects)
        if summary.cells:
            self.cells[len(objects)] += 1
        if summary.palette:
            self.palette_groups[frozenset(summary.palette.items())] += 1
            for value, color in summary.palette.items():
                self.palettes[value][color] += 1
        else:
            self.grey |= present
        for value in counts:
            self._note(value, name)

    def _note(self, key, name):
        files = self._first.setdefault(key, [])
        if len(files) < _FIRST:
            files.append(name)

    @property
    def values(self):
        """The values that occur, without edges: a set of int."""
        return self._solid if self.smoothed else set(self.pixels)

    @property
    def total(self):
        """Pixels of all masks with values."""
        return self.pixels.total()

    def example(self, key):
        """The first files with a value, or with ("color", code), for a message."""
        return ", ".join(self._first.get(key, ()))

    def files_with(self, condition):
        """How many masks have a set of values for which `condition` holds."""
        return sum(count for values, count in self.groups.items() if condition(values))
