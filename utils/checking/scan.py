"""Facts about one image and its mask, gathered without judging them.

`utils.checking.report` turns them into problems. They depend on the two files alone, so they can be
kept from one run to the next.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from errors import UserError
from utils.checking.brightness import describe_values
from utils.checking.content import (
    MaskSummary,
    are_cells,
    edge_values,
    palette_of,
    read_content,
)
from utils.data.masks import ids_of, read_label_ids, refused_mask
from utils.files import whole_file
from utils.images.channels import MAX_PIXELS
from utils.images.deep import read_numbers
from utils.images.header import read_header
from utils.images.opening import open_header
from utils.images.reading import read_image


@dataclass
class Facts:
    """What an image and its mask are.

    Attributes:
        image_error: str, why the image can't be read; "" if it can.
        image_size: (height, width), upright; None if unknown.
        image_mode: str, as in `utils.images.reading.Header`; "" where it was not decoded.
        image_channels: the values of in_channels that the image can be read with.
        image_notes: kinds of `utils.checking.problems.PROBLEMS` that its header tells of.
        values: dict of `utils.checking.brightness.describe_values`; None of 8 bits.
        image_bytes, image_pixels: hashes of the file and of the upright pixels, or 0
            where the image was not decoded.
        mask_error: "", "broken", or a key of `utils.data.masks.REFUSED_MASKS`.
        mask_detail: str, the error's own words.
        mask_size: (height, width) or None.
        mask: `utils.checking.content.MaskSummary`: what it holds; None if it can't be read.
    """

    image_error: str = ""
    image_size: tuple[int, int] | None = None
    image_mode: str = ""
    image_channels: tuple[int, ...] = ()
    image_notes: tuple[str, ...] = ()
    values: dict | None = None
    image_bytes: int = 0
    image_pixels: int = 0
    mask_error: str = ""
    mask_detail: str = ""
    mask_size: tuple[int, int] | None = None
    mask: MaskSummary | None = None


def scan_pair(sample, decode=True):
    """Gathers the facts of a sample.

    Args:
        sample: `utils.data.voc.Sample`.
        decode: bool. True decodes the image too; False reads the header only of one of 8 bits.

    Returns:
        Facts.
    """
    facts = Facts()
    _scan_image(sample.image_path, facts, decode)
    _scan_mask(sample.mask_path, facts, decode)
    return facts


def _scan_image(path, facts, decode):
    try:
        header = read_header(path)
        facts.image_size, facts.image_channels = header.size, header.channels
        facts.image_notes = header.notes
        if header.is_deep:  # what they are scaled by depends on all of them
            pixels = read_numbers(path, MAX_PIXELS).values
            facts.values = describe_values(pixels)
        elif decode:
            channels = 3 if 3 in header.channels else header.channels[0]
            pixels = read_image(path, in_channels=channels)
        if decode:
            facts.image_mode = header.mode
            facts.image_bytes = _hash_file(path)
            kind = repr((pixels.shape, pixels.dtype.name)).encode()
            facts.image_pixels = _hash(kind, np.ascontiguousarray(pixels))
    except UserError as error:
        facts.image_error = str(error)


def _scan_mask(path, facts, decode):
    try:
        with open_header(path) as image:
            facts.mask_error = refused_mask(image) or ""
            facts.mask_size = image.size[::-1]
            if not facts.mask_error:
                # OpenCV is the faster one with grey files; others are open already.
                ids = read_label_ids(path) if image.mode == "L" else ids_of(image, path)
                facts.mask = _summarize(ids, image)
                return
        if decode and facts.mask_error != "lossy":
            content = read_content(path)
            facts.mask = None if content.refusal else content.summarize()
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads to
        facts.mask_error, facts.mask_detail = "broken", str(error)


def _summarize(ids, image):
    """The MaskSummary of class ids, uint8 (H, W), from an opened file."""
    counts = np.bincount(ids.ravel(), minlength=256)
    found = np.flatnonzero(counts).tolist()
    smooth, thin = edge_values(ids) if image.mode == "L" and len(found) > 2 else ((), ())
    return MaskSummary(
        {value: int(counts[value]) for value in found},
        smooth=smooth,
        thin=thin,
        palette=palette_of(image, found),
        cells=are_cells(ids, found),
    )


def _hash(*parts):
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return int.from_bytes(digest.digest(), "big")


def _hash_file(path):
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8))
    return int.from_bytes(digest.digest(), "big")


class FactsCache:
    """Facts kept in a JSON file, valid while both files keep their size and time.

    Args:
        path: of the JSON file; None keeps nothing. A file that can't be read or written is
            no error: the facts are then gathered anew.
    """

    def __init__(self, path):
        self.path = Path(path) if path else None
        self.fresh = {}
        try:
            self.known = json.loads(self.path.read_text("utf-8")) if path else {}
            if not isinstance(self.known, dict):
                self.known = {}
        except (OSError, ValueError, RecursionError):
            self.known = {}

    def scan(self, sample):
        """The facts of a sample, without decoding the image; from the cache if valid."""
        key, stamp = str(sample.mask_path.resolve()), self._stamp(sample)
        entry = self.known.get(key)
        try:
            valid = stamp and entry["stamp"] == stamp and entry["sum"] == _sum(entry["facts"])
            facts = _facts_from(entry["facts"]) if valid else None
        except (AttributeError, KeyError, TypeError, ValueError):  # damaged, or an older version's
            facts = None
        facts = facts or scan_pair(sample, decode=False)
        # As JSON has them, since the sum is of that.
        values = json.loads(json.dumps(dataclasses.asdict(facts)))
        self.fresh[key] = {"stamp": stamp, "facts": values, "sum": _sum(values)}
        return facts

    def save(self):
        """Writes what was scanned; entries of other files are kept."""
        if not self.path or not self.path.parent.is_dir():
            return
        with contextlib.suppress(OSError), whole_file(self.path) as temporary:
            temporary.write_text(json.dumps(self.known | self.fresh), encoding="utf-8")

    @staticmethod
    def _stamp(sample):
        try:
            stats = [os.stat(path) for path in (sample.image_path, sample.mask_path)]
        except OSError:
            return None
        # The time of a change (ctime) too: copies keep the other one, and a clock may be set back.
        return [n for stat in stats for n in (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)]


def _sum(values):
    """A checksum: facts that are damaged may still look like facts."""
    return f"{_hash(json.dumps(values, sort_keys=True).encode()):016x}"


def _facts_from(values):
    """Facts from JSON, which knows no tuples and no int keys."""
    facts = Facts(**values)
    facts.image_channels = tuple(values["image_channels"])
    facts.image_notes, facts.values = tuple(values["image_notes"]), values["values"]
    facts.image_size = facts.image_size and tuple(facts.image_size)
    facts.mask_size = facts.mask_size and tuple(facts.mask_size)
    if facts.mask is not None:
        facts.mask = mask = MaskSummary(**facts.mask)
        mask.counts = {int(value): count for value, count in mask.counts.items()}
        mask.palette = {int(value): color for value, color in mask.palette.items()}
        mask.smooth, mask.thin = tuple(mask.smooth), tuple(mask.thin)
    return facts
