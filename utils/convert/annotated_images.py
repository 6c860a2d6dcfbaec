"""The images of annotation files: found, turned as their annotators saw them, saved."""

import io
import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from PIL import Image, ImageOps
from PIL.ExifTags import Base

from errors import UserError
from utils.convert.annotations import shown
from utils.convert.encoded import image_reason
from utils.convert.text import one_form
from utils.images.channels import CONVERTED, check_pixels, to_array
from utils.images.reading import read_header, read_image
from utils.images.tiff import is_tiff

_COPIED = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png"}  # an MPO is a JPEG of two images
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


class AnnotatedImage(NamedTuple):
    """An image as the annotations were drawn on it.

    Attributes:
        image: PIL.Image, any mode; its EXIF counts no more. None for a file that Pillow does
            not know, which is copied.
        data: bytes of a file that shows just this and can be copied, or None.
        extension: str, of that file.
        size: (height, width).
    """

    image: Image.Image | None
    data: bytes | None
    extension: str
    size: tuple[int, int]


class ImageFinder:
    """Finds images under the names that annotation files give them.

    Args:
        image_dir: str, the only folder to look in; empty: where each file suggests.
        within: Path of a folder that names may not lead out of, if there is no image_dir; None:
            any. A stranger's file could name any image of this machine.

    Raises:
        UserError: if that folder is missing.
    """

    def __init__(self, image_dir="", within=None):
        if image_dir and not os.path.isdir(image_dir):
            raise UserError(f"There is no folder image_dir {image_dir!r}.")
        self.image_dir = image_dir
        self._within = os.path.abspath(image_dir or within) if image_dir or within else None
        self._listings = {}

    def find(self, file_name, folders):
        """Finds an image, whatever the case of its letters and their form in Unicode.

        The name may have backslashes, folders of another machine, or be a URL: the longest
        end of it that leads to a file counts.

        Args:
            file_name: str.
            folders: Paths to look in, unless there is image_dir.

        Returns:
            Path, or None.

        Raises:
            UserError: if it is there, but not where images may be.
        """
        folders = [Path(self.image_dir)] if self.image_dir else folders
        outside = None
        for end in _ends(file_name):
            for folder in folders:
                path = self._match(folder / end)
                if path and self._allows(path):
                    return path
                outside = outside or path
        if outside:
            raise UserError(
                f"The image {shown(file_name)} lies outside of {self._within}, where no "
                "annotation may lead. If it is yours, set image_dir to its folder."
            )
        return None

    def _allows(self, path):
        # As the name says: a link that leads elsewhere was made by the user.
        return self._within is None or Path(os.path.abspath(path)).is_relative_to(self._within)

    def need(self, file_name, folders, origin):
        """As `find`.

        Args:
            file_name: anything that the file gives as the name.
            folders: as in `find`.
            origin: str, for messages.

        Raises:
            UserError: if it is not there.
        """
        if not isinstance(file_name, str) or not file_name:
            raise UserError(f"{origin} has the image name {shown(file_name)}. Expected a text.")
        found = self.find(file_name, folders)
        if found is None:
            places = self.image_dir or ", ".join(map(str, folders))
            raise UserError(
                f"{origin} names the image {shown(file_name)}, which is not in {places}. Put it "
                "there, or set image_dir."
            )
        return found

    def _match(self, path):
        if os.path.isfile(path):
            return path
        parent = path.parent
        if parent not in self._listings:
            names = {}
            for name in os.listdir(parent) if os.path.isdir(parent) else ():
                names.setdefault(one_form(name).lower(), []).append(name)
            self._listings[parent] = names
        # A Mac writes é as e and an accent, in names of files or of annotations alone.
        same = self._listings[parent].get(one_form(path.name).lower(), [])
        return parent / same[0] if len(same) == 1 and os.path.isfile(parent / same[0]) else None


def _ends(file_name):
    """The relative paths that a name may mean, the longest first."""
    text = file_name.replace("\\", "/")
    if "://" in text:
        text = text.partition("://")[2].partition("?")[0]
    text = text.rpartition("?d=")[2]  # Label Studio: /data/local-files/?d=folder/name.jpg
    found = [text] if text.startswith("/") else []
    for variant in dict.fromkeys((text, unquote(text))):
        parts = [part for part in variant.split("/") if part not in ("", ".")]
        found += ["/".join(parts[start:]) for start in range(len(parts))]
    return sorted(found, key=lambda end: -end.count("/"))


def read_annotated_image(source, declared, frames, origin):
    """Decodes an image and decides which way up its annotations saw it.

    Args:
        source: Path of a file, or its bytes.
        declared: (height, width) by the annotations; None where they don't say.
        frames: "stored", "upright" or both: how the file may have been shown, without and
            with its EXIF orientation; the first of the declared size counts.
        origin: str, for messages.

    Returns:
        AnnotatedImage.

    Raises:
        UserError: if it can't be decoded, or has another size.
    """
    embedded = isinstance(source, bytes)
    if not embedded and is_tiff(source) and (found := _read_as_is(source, declared, origin)):
        return found
    name = f"the image in {origin}" if embedded else str(source)
    try:
        data = source if embedded else source.read_bytes()
        image = Image.open(io.BytesIO(data))
        check_pixels(*image.size, name)
        image.load()
        turned = image.getexif().get(Base.Orientation) in range(2, 9)
        frame_of = {"stored": image, "upright": ImageOps.exif_transpose(image)}
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads to
        reason = image_reason(error)
        raise UserError(f"{origin}: {name} can't be read: {reason}") from error
    for frame in frames:
        size = _size_of(frame_of[frame])
        if _fits(size, declared):
            copied = _COPIED.get(image.format) if not turned else None
            data = data if copied else None
            return AnnotatedImage(frame_of[frame], data, copied or ".png", size)
    hint = ""
    if _fits(_size_of(image), declared):
        hint = " when its EXIF orientation is applied. Turn the file itself and annotate it again"
    raise _other_size(origin, name, declared, _size_of(frame_of[frames[0]]), hint)


def _read_as_is(path, declared, origin):
    """A TIFF of more than grey or colours, to be copied as `read_image` reads it; or None."""
    converted = False
    try:
        channels = read_header(path).channels
        converted = set(CONVERTED) <= set(channels)
        more = [count for count in channels if count not in CONVERTED]
        if not more:
            return None
        size = read_image(path, in_channels=max(more)).shape[:2]
    except UserError as error:
        if converted:  # its further pages may be small versions of the first
            return None
        raise UserError(f"{origin}: {error}") from error
    if not _fits(size, declared):
        raise _other_size(origin, path, declared, size)
    return AnnotatedImage(None, path.read_bytes(), ".tif", size)


def _size_of(image):
    return image.height, image.width


def _fits(size, declared):
    return all(own in (None, side) for side, own in zip(size, declared, strict=True))


def _other_size(origin, name, declared, size, hint=""):
    return UserError(
        f"{origin} says that the image is {shown(declared[1])}x{shown(declared[0])} pixels, but "
        f"{name} is {size[1]}x{size[0]}{hint}. They must belong together."
    )


def save_annotated_image(annotated, folder, name):
    """Writes an image: the file's own bytes, or else PNG without loss and without EXIF.

    Modes that PNG lacks (CMYK, 32-bit, ...) are saved as `read_image` sees them.
    """
    path = Path(folder) / f"{name}{annotated.extension}"
    if annotated.data is not None:
        path.write_bytes(annotated.data)
        return
    image = annotated.image.copy()
    # Pillow would carry an EXIF orientation over, and the reader turn the image by it.
    image.info = {key: value for key, value in image.info.items() if key == "transparency"}
    if image.mode not in _PNG_MODES:
        image = Image.fromarray(to_array(image))
    image.save(path, "PNG")
