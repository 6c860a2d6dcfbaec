"""Images of types that need another package, or to be converted first: what to do about them."""

import functools
import importlib.util
import os
from collections import Counter
from typing import NamedTuple

HEIC_PACKAGE, DICOM_PACKAGE = "pillow_heif", "pydicom"
_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")


class _Kind(NamedTuple):
    """A type of files: its name, endings of its files, what reads it here, what to do without."""

    name: str
    endings: tuple[str, ...]
    package: str = ""
    remedy: str = ""


_KINDS = (
    _Kind(
        "HEIC", (".heic", ".heif", ".hif"), HEIC_PACKAGE,
        "pip install pillow-heif, or save it as JPEG or PNG",
    ),
    _Kind(
        "DICOM", (".dcm", ".dicom"), DICOM_PACKAGE,
        "pip install pydicom, or save each slice as TIFF",
    ),
    _Kind(
        "NIfTI", (".nii", ".nii.gz"), "",
        "it is a volume; write each slice as TIFF: with nibabel, tifffile.imwrite('slice.tif', "
        "nibabel.load('volume.nii').get_fdata()[..., 0].astype('float32'))",
    ),
    _Kind(
        "NumPy", (".npy", ".npz"), "",
        "write it as TIFF: tifffile.imwrite('image.tif', numpy.load('image.npy'), "
        "photometric='minisblack')",
    ),
    _Kind("MetaImage or NRRD", (".mha", ".mhd", ".nrrd"), "", "write each slice as TIFF"),
    _Kind(
        "camera raw", (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2"), "",
        "export it as TIFF or PNG",
    ),
    _Kind("microscope", (".czi", ".nd2", ".lif", ".oib", ".oif"), "", "export it as TIFF"),
)  # fmt: skip


def foreign_kind(path):
    """The `_Kind` of a file that can't be read as it is, by its name and its start; else None."""
    kind = _kind_by_start(path) or _kind_by_name(os.fspath(path))
    return kind if kind and not is_installed(kind.package) else None


def advice(path):
    """What to do about a file that can't be read as it is; "" if there is no more to say."""
    kind = foreign_kind(path)
    return f"it is a {kind.name} file: {kind.remedy}." if kind else ""


def extra_extensions():
    """Extensions of files that an installed package lets be read, lower case with the dot."""
    return {end for kind in _KINDS if is_installed(kind.package) for end in kind.endings}


def describe_foreign(names):
    """One text for each type that can't be read among file names, with count and remedy."""
    kinds = {
        name: kind
        for name in names
        if (kind := _kind_by_name(name)) and not is_installed(kind.package)
    }
    return [
        f"{count:,} {kind.name} {'file' if count == 1 else 'files'}, such as "
        f"{next(name for name in kinds if kinds[name] is kind)}: {kind.remedy}"
        for kind, count in Counter(kinds.values()).items()
    ]


def files_below(folder):
    """Paths of all files in a folder, and in the folders in it, but hidden ones; sorted."""
    found = []
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(path, name) for name in sorted(names) if not name.startswith(".")]
    return found


@functools.cache
def is_installed(package):
    """Whether a package is there."""
    return bool(package) and importlib.util.find_spec(package) is not None


def open_heic():
    """Teaches Pillow to read HEIC, if the package for it is there; returns whether it is."""
    if not is_installed(HEIC_PACKAGE):
        return False
    import pillow_heif

    pillow_heif.register_heif_opener()
    return True


def is_heic(start):
    """Whether the first 12 bytes of a file are those of a HEIC file."""
    return start[4:8] == b"ftyp" and start[8:12] in _BRANDS


def is_dicom(path):
    """Whether a file starts as DICOM files do; False too if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except (OSError, ValueError):
        return False


def _kind_by_name(name):
    lower = str(name).lower()
    return next((kind for kind in _KINDS if lower.endswith(kind.endings)), None)


def _kind_by_start(path):
    try:
        with open(path, "rb") as file:
            start = file.read(12)
    except (OSError, ValueError):
        return None
    if is_heic(start):
        return _KINDS[0]
    if is_dicom(path):
        return _KINDS[1]
    return _KINDS[3] if start.startswith(b"\x93NUMPY") else None
