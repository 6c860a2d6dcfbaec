"""Small images of the files that problems name."""

import os
import re
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from errors import UserError
from utils.checking.content import read_content
from utils.checking.preview import show_mask
from utils.checking.problems import sort_kinds
from utils.data.lists import stem_of
from utils.data.voc import Sample, image_extensions
from utils.images.reading import read_to_show
from webapp.check_html import image_uri, mask_uri

MOST = 24  # files that are shown
_SIDE = 170  # pixels
_TWINS = re.compile(r"(.*) \(val\) is (.*) \(train\)", re.DOTALL)
_LINE = re.compile(r"\w+\.txt: .* lines, such as '(.*)'", re.DOTALL)  # of a list
# The longest first: ".tif" is the start of ".tiff".
_ENDS = re.compile(
    "|".join(map(re.escape, sorted(image_extensions(), key=len, reverse=True))), re.IGNORECASE
)


class Thumbnail(NamedTuple):
    """A file of the dataset, small.

    Attributes:
        name: str, its folder and name.
        uri: str, a data: URI; "" if it can't be shown.
        reason: str, why it can't be shown, or what is odd about it; "" if nothing is.
        is_mask: bool.
    """

    name: str
    uri: str
    reason: str
    is_mask: bool


class FileIndex:
    """Finds the files that a text names: by path, by file name, or as an image of lists.

    Args:
        folder: Path of the VOC folder.
        samples: list of `utils.data.voc.Sample`.
    """

    def __init__(self, folder, samples):
        self._known, self._named = {}, {}
        for part in ("JPEGImages", "SegmentationClass"):
            for name in os.listdir(folder / part):
                path = folder / part / name
                self._known[str(path)] = [path]
                self._known.setdefault(name, []).append(path)
                self._named.setdefault(stem_of(path), path)  # an image before a mask
        self._sample = {path: one for one in samples for path in (one.image_path, one.mask_path)}

    def find(self, text):
        """The files that a text names, each with its image or mask.

        Returns:
            list of lists of Path; each holds an image and its mask, or a file that has no other.
        """
        if match := _TWINS.fullmatch(text) or _LINE.fullmatch(text):
            paths = [self._named[name] for name in match.groups() if name in self._named]
        else:
            paths = self._find_paths(text)
        groups = {}
        for path in paths:
            sample = self._sample.get(path)
            group = [path] if sample is None else [sample.image_path, sample.mask_path]
            groups.setdefault(group[0], group)
        return list(groups.values())

    def _find_paths(self, text):
        ends = [match.end() for match in _ENDS.finditer(text)][::-1]
        start = 0
        # From the left and the longest first, for names may hold spaces, or others' names.
        while start < len(text):
            found = (end for end in ends if end > start and text[start:end] in self._known)
            end = next(found, None)
            if end is None:
                start += 1
            else:
                yield from self._known[text[start:end]]
                start = end


def choose_files(report, index, most=MOST):
    """The files to show for each kind of problem, shared out evenly among the kinds.

    Args:
        report: `utils.checking.report.Report`.
        index: FileIndex.
        most: int, files in all.

    Returns:
        dict from the kind to a list of Path, an image beside its mask.
    """
    kinds = sort_kinds(report)
    groups = {
        kind: [group for text in report.problems[kind].first for group in index.find(text)]
        for kind in kinds
    }
    chosen = {kind: [] for kind in kinds}
    left = most
    for turn in zip_longest(*groups.values()):
        for kind, group in zip(kinds, turn, strict=True):
            new = [path for path in group or () if path not in chosen[kind]]
            if len(new) <= left:
                chosen[kind] += new
                left -= len(new)
    return chosen


def draw(path, max_pixels):
    """The Thumbnail of an image or a mask of a dataset.

    Args:
        path: Path.
        max_pixels: int, of an image.
    """
    name = f"{path.parent.name}/{path.name}"
    if path.parent.name == "JPEGImages":
        try:
            return Thumbnail(name, image_uri(read_to_show(path, max_pixels), _SIDE), "", False)
        except (UserError, OSError):
            return Thumbnail(name, "", "can't be read", False)
    content = read_content(path)
    if content.refusal:
        return Thumbnail(name, _as_stored(path), content.refusal, True)
    if content.colors is not None:
        return Thumbnail(name, image_uri(content.colors, _SIDE), "", True)
    return Thumbnail(name, mask_uri(_to_bytes(content.values), _SIDE), "", True)


def _to_bytes(values):
    """Values as uint8; where they are beyond it, other values have other numbers."""
    if values.min(initial=0) >= 0 and values.max(initial=0) <= 255:
        return values.astype(np.uint8)
    return (np.unique(values, return_inverse=True)[1].reshape(values.shape) % 255).astype(np.uint8)


def _as_stored(path):
    try:
        return image_uri(show_mask(Sample("", None, path)), _SIDE)
    except Exception:  # Pillow's decoders raise whatever a broken file leads to
        return ""
