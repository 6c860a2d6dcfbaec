"""Folders that the page shows: which there are, and that no link in them leads out."""

import contextlib
import os
from pathlib import Path

from errors import UserError
from utils.data.voc import voc_folder

_DEPTH = 3  # folders below a served one that are looked into
_MOST = 200  # to choose from
_PARTS = ("", "JPEGImages", "SegmentationClass", "ImageSets", "ImageSets/Segmentation")


def find_datasets(served):
    """What a visitor may choose as VOCdevkit_path, sorted, as texts.

    Args:
        served: `webapp.served.Served`.
    """

    def choice(path, is_top, names, _):
        if "JPEGImages" not in names:
            return None
        # A served folder may itself be VOC2007, and what is above it is not served.
        return path.parent if path.name == "VOC2007" and not is_top else path

    return find_folders(served, choice)


def find_folders(served, choice):
    """Folders to choose from, sorted, as texts; hidden ones are passed over.

    Args:
        served: `webapp.served.Served`.
        choice: callable of a Path, whether it is a served folder, and the names of the folders and
            of the files in it; returns the Path to choose, or None. What is below a chosen one is
            not looked into.
    """
    found = set()
    for top in served.folders:
        for folder, names, files in os.walk(top):
            path = Path(folder)
            names[:] = sorted(name for name in names if not name.startswith("."))
            if chosen := choice(path, path == top, names, files):
                found.add(str(chosen))
            if chosen or len(path.relative_to(top).parts) == _DEPTH:
                names.clear()
            if len(found) == _MOST:
                return sorted(found)
    return sorted(found)


def open_dataset(served, text):
    """The dataset that a visitor named.

    Args:
        served: `webapp.served.Served`.
        text: str, a VOCdevkit_path.

    Returns:
        str, the path for the scripts.

    Raises:
        UserError: if it lies outside the served folders, or a link in it leads out, or it is no
            dataset.
    """
    if not (text or "").strip():
        raise UserError("Choose a dataset, or type the path of one: the folder that holds VOC2007.")
    path = shorten(served.resolve(text))
    check_links(served, voc_folder(path), _PARTS)
    return str(path)


def check_links(served, folder, parts=("",)):
    """Refuses links that lead out of the served folders.

    Args:
        served: `webapp.served.Served`.
        folder: Path.
        parts: folders in it whose entries are looked at.

    Raises:
        UserError: for the first such link.
    """
    served.resolve(str(folder))
    for part in parts:
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(folder / part) as entries,
        ):
            for entry in entries:
                if entry.is_symlink():
                    _check_link(served, entry.path)


def _check_link(served, path):
    try:
        served.resolve(os.path.realpath(path))
    except UserError:
        raise UserError(
            f"{path} is a link that leads out of the folders that this page shows. Put the files "
            "themselves there, or start app.py with --folders that name their folder too."
        ) from None


def shorten(path):
    """A path as people type it: from the working directory on, if it lies there."""
    path = Path(path)
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
