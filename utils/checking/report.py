"""Judges the data before a training starts, instead of hours into it.

Facts of each pair (`utils.checking.scan`) go into a `Report` one by one; what concerns the set as a
whole, such as ids with gaps, is judged at the end. Memory: some hundred bytes per image.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from errors import UserError
from utils.checking.brightness import Brightness
from utils.checking.census import Census
from utils.checking.meaning import Meaning, judge
from utils.checking.problems import PROBLEMS, format_problems
from utils.checking.scan import FactsCache, scan_pair
from utils.labels import VOID
from utils.parallel import ordered_map

_FIRST = 5  # files named with each problem
# What a user may have decided before a training, by a setting of the check.
_DOUBTS = ("void_or_class", "mixed_conventions", "palette_renumbered", "instances")


@dataclass
class Found:
    """A problem that was found: how often, and the first files (or other details)."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, detail, count=1):
        """Counts it once more."""
        self.count += count
        if len(self.first) < _FIRST:
            self.first.append(detail)


class Report:
    """What a dataset holds and what is wrong with it.

    Args:
        num_classes: int; None: not known, so only what is wrong for any number is judged.
        ignore_labels: mask values that are void; None: 255, if the masks use it so.
        in_channels: int, channels that an image must have; None: not known.
        value_range: as for `utils.checking.brightness.Brightness`.
        palette: str, as in `utils.checking.meaning.judge`.
        lenient: bool, whether doubts about the masks, which a user may have decided in the
            check, are notes.

    Attributes:
        problems: dict from a key of `utils.checking.problems.PROBLEMS` to Found.
        pairs: int, pairs scanned.
        sizes, modes: Counters of the images' (height, width) and Pillow modes.
        pixels: int64 (256,), pixels of each value.
        images: int64 (256,), images in which each value occurs.
        frequency_base: int64 (256,), pixels of those images.
        presence: dict from name to the set of values in its mask.
        census: `utils.checking.census.Census` of the masks.
        meaning: `utils.checking.meaning.Meaning` of the masks, known at the end.
        brightness: Brightness of its images.
    """

    def __init__(
        self,
        num_classes=None,
        ignore_labels=None,
        in_channels=None,
        value_range=(),
        *,
        palette="auto",
        lenient=False,
    ):
        self.brightness = Brightness(value_range)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.ignored = frozenset((VOID,) if ignore_labels is None else ignore_labels)
        self.census, self.meaning = Census(), Meaning()
        self._ignore_labels, self._palette, self._lenient = ignore_labels, palette, lenient
        self.problems = {}
        self.pairs = 0
        self.sizes, self.modes = Counter(), Counter()
        self.pixels = np.zeros(256, np.int64)
        self.images = np.zeros(256, np.int64)
        self.frequency_base = np.zeros(256, np.int64)
        self.presence = {}
        self._with_value = {}  # value: the first files that hold it
        self._sets = {}
        self._hashes = {}  # name: hashes of its image

    def problem(self, kind, detail, count=1):
        """Notes a problem."""
        self.problems.setdefault(kind, Found()).add(detail, count)

    def add(self, sample, facts):
        """Takes in the facts of a pair."""
        self.pairs += 1
        mask = sample.mask_path.name
        if facts.image_error:
            self.problem("picture_broken", facts.image_error)
        else:
            self.sizes[facts.image_size] += 1
            self.modes[facts.image_mode] += 1
            self._judge_channels(sample, facts.image_channels)
            for kind in facts.image_notes:
                self.problem(kind, str(sample.image_path))
            if facts.values:
                self.brightness.add(sample.image_path, facts.values)
            if facts.image_bytes:
                self._hashes[sample.name] = (facts.image_bytes, facts.image_pixels)
        if facts.mask_error:
            self.problem(
                f"mask_{facts.mask_error}", f"{sample.mask_path} {facts.mask_detail}".strip()
            )
        if facts.mask:
            self.census.add(facts.mask, str(sample.mask_path))
        if facts.mask_error:
            return
        if not facts.image_error and facts.image_size != facts.mask_size:
            self.problem(
                "sizes_differ",
                f"{sample.image_path} is {_size(facts.image_size)}, "
                f"{sample.mask_path} is {_size(facts.mask_size)} (width x height)",
            )
        smooth = facts.mask.smooth
        if smooth:
            self.problem("mask_smooth", f"{mask} ({len(smooth)} values along edges)")
        counts = {value: n for value, n in facts.mask.counts.items() if value not in smooth}
        self._add_values(sample, counts)

    def _judge_channels(self, sample, channels):
        if self.in_channels is not None and self.in_channels not in channels:
            possible = " or ".join(map(str, channels))
            self.problem(
                "picture_bands",
                f"{sample.image_path} can be read with in_channels {possible}, but in_channels is "
                f"{self.in_channels}",
            )

    def _add_values(self, sample, counts):
        values = list(counts)
        self.pixels[values] += list(counts.values())
        self.images[values] += 1
        self.frequency_base[values] += sum(
            n for value, n in counts.items() if value not in self.ignored
        )
        present = frozenset(values)
        # Most masks hold one of a few sets of values: each set is kept once.
        self.presence[sample.name] = self._sets.setdefault(present, present)
        for value in values:
            files = self._with_value.setdefault(value, [])
            if len(files) < _FIRST:
                files.append(str(sample.mask_path))

    @property
    def classes(self):
        """The values that occur and are not void, sorted."""
        return [int(v) for v in np.flatnonzero(self.pixels) if int(v) not in self.ignored]

    @property
    def fatal(self):
        """Whether a problem was found that makes a training wrong."""
        return any(map(self.is_fatal, self.problems))

    def is_fatal(self, kind):
        """Whether a kind of problem makes a training wrong."""
        return PROBLEMS[kind].fatal and not (self._lenient and kind in _DOUBTS)

    def finish(self, lists=None):
        """Judges the set as a whole.

        Args:
            lists: dict from a list's name to its names of images; pairs such as train and
                val, or train_0 and val_0, are compared. None: no lists.
        """
        self._judge_values()
        for kind, detail in self.brightness.settle():
            self.problem(kind, detail)
        for train in lists or ():
            val = train.replace("train", "val", 1)
            if train.startswith("train") and train != "trainval" and lists.get(val):
                self._judge_split(lists[train], lists[val])

    def _judge_values(self):
        self.meaning = judge(
            self.census,
            num_classes=self.num_classes,
            ignore_labels=self._ignore_labels,
            palette=self._palette,
        )
        kinds = set()
        for doubt in self.meaning.doubts:
            self.problem(doubt.kind, doubt.detail, doubt.count)
            kinds.add(doubt.kind)
        if "void_is_class" in kinds:
            self.ignored -= {VOID}
        if not self.presence or kinds & {"instances", "void_or_class", "void_is_class"}:
            return
        strays = {v for v, i in self.meaning.ids.items() if i == VOID} - self.ignored
        classes = [value for value in self.classes if value not in strays]
        if VOID in self.ignored and classes in ([0], []) and self.pixels[VOID]:
            self._problem_of_value("ids_0_255", VOID)
        elif len(classes) < 2:
            self.problem("only_one_class", f"the only value in {self.pairs} masks is {classes}")
        elif _have_gaps(classes, self.num_classes):
            example = self._with_value[classes[-1]][0]
            text = f"the values are {_shorten(classes)}, for instance in {example}"
            self.problem("ids_with_gaps", text, len(classes))
        elif self.num_classes and classes[-1] >= self.num_classes:
            self._judge_out_of_range(classes)
        else:
            self._judge_missing(classes)

    def _judge_out_of_range(self, classes):
        if classes[0] > 0 and classes[-1] == self.num_classes:
            self._problem_of_value("ids_off_by_one", classes[-1])
            return
        for value in (value for value in classes if value >= self.num_classes):
            self._problem_of_value("ids_out_of_range", value)

    def _judge_missing(self, classes):
        if classes[0] > 0:
            self.problem("no_background", f"the ids are {_shorten(classes)}")
        expected = range(self.num_classes or classes[-1] + 1)
        for value in sorted(set(expected) - set(classes) - self.ignored - {0}):
            self.problem("class_absent", f"class {value}")

    def _problem_of_value(self, kind, value):
        files = ", ".join(self._with_value[value][:2])
        self.problem(
            kind,
            f"value {value}: {self.pixels[value]:,} pixels, for instance in {files}",
            int(self.images[value]),
        )

    def _judge_split(self, train, val):
        in_train = frozenset().union(*(self.presence.get(name, ()) for name in train))
        in_val = frozenset().union(*(self.presence.get(name, ()) for name in val))
        for value in sorted(in_val - in_train - self.ignored):
            images = int(self.images[value])
            self.problem(
                "class_only_in_val", f"class {value}, in {images} image{'s' if images > 1 else ''}"
            )
        known = {}
        for name in train:
            known.setdefault(name, name)
            for number in self._hashes.get(name, ()):
                known.setdefault(number, name)
        for name in val:
            twin = next((known[k] for k in (name, *self._hashes.get(name, ())) if k in known), None)
            if twin is not None:
                self.problem("in_both_lists", f"{name} (val) is {twin} (train)")


def _have_gaps(classes, num_classes):
    """Whether values like 0, 50, 100 stand for ids 0, 1, 2."""
    if num_classes and classes[-1] < num_classes:
        return False
    return classes[-1] + 1 > 2 * len(classes)


def _size(size):
    return f"{size[1]}x{size[0]}"


def _shorten(values, most=12):
    shown = ", ".join(map(str, values[:most]))
    return shown if len(values) <= most else f"{shown}, ... {values[-1]}"


def scan_into(report, samples, workers, progress=True):
    """Scans samples whole, images decoded, into a report."""
    facts = ordered_map(partial(scan_pair, decode=True), samples, workers, "Checking", progress)
    for sample, one in zip(samples, facts, strict=True):
        report.add(sample, one)
    return report


def check_samples(
    train,
    val,
    num_classes,
    ignore_labels,
    *,
    in_channels=None,
    value_range=(),
    workers=0,
    cache=None,
    progress=True,
):
    """The quick check before a training: names, sizes, and the values of all masks.

    Images of 8 bits are not decoded, and what is known from an earlier run is not read again.

    Args:
        train, val: lists of `utils.data.voc.Sample` with masks; train may be empty, for scoring.
        num_classes, ignore_labels: as in `utils.data.masks.read_mask`.
        in_channels: int, channels that an image must have; None: any.
        value_range: as for `utils.checking.brightness.Brightness`.
        workers: int, threads; 0: one per processor.
        cache: path of a JSON file for the facts; None: no cache.
        progress: bool, whether to show a progress bar.

    Returns:
        Report.

    Raises:
        UserError: with every problem that would make the training wrong.
    """
    known = FactsCache(cache)
    lists = {"train": [sample.name for sample in train], "val": [sample.name for sample in val]}
    samples = list(dict.fromkeys([*train, *val]))
    void = None if tuple(ignore_labels) == (VOID,) else ignore_labels
    report = Report(num_classes, void, in_channels, value_range, lenient=True)
    facts = ordered_map(known.scan, samples, workers, "Checking the data", progress)
    for sample, one in zip(samples, facts, strict=True):
        report.add(sample, one)
    known.save()
    report.finish(lists)
    if not train:  # what is only scored need not hold two classes
        for kind in ("only_one_class", "ids_0_255"):
            report.problems.pop(kind, None)
    if report.fatal:
        raise UserError("The data can't be used as it is.\n" + format_problems(report, True))
    return report
