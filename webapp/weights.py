"""Which weights files lie in the served folders, and what they say of themselves."""

import os
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path

from nets.backbones import BACKBONES
from utils.messages import in_script
from utils.quiet import quiet

NONE_YET = (
    "There are no trained weights in {folders} yet. Run python demo.py, which makes some in less "
    "than five minutes, or train your own on the tab Train; then press Refresh."
)
_ENDS = (".h5", ".pth", ".pt")
_STATE = "state_ep"  # how files begin that hold the state of a training, not weights to use
_BEST = "best"  # how the files of the best epoch begin
_NOT_INTO = ("VOC2007", "img_out")  # folders of images, maybe a million


def find_weights(served):
    """The weights files below the served folders, without those of ImageNet.

    Args:
        served: `webapp.served.Served`.

    Returns:
        list of str, their paths as seen from the working folder: the newest training's first,
        and of each folder the best epoch's.
    """
    folders = {}
    for served_folder in served.folders:
        for folder, inner, names in os.walk(served_folder):
            inner[:] = [one for one in inner if one not in _NOT_INTO and not one.startswith(".")]
            if paths := [Path(folder) / name for name in names if _is_weights(name)]:
                folders[Path(folder).resolve()] = paths
    newest = {folder: max(map(_changed, paths)) for folder, paths in folders.items()}
    found = []
    for folder in sorted(folders, key=lambda one: -newest[one]):
        found += sorted(
            folders[folder], key=lambda one: (not one.name.startswith(_BEST), -_changed(one))
        )
    return [path.as_posix() for path in found]


def named(paths):
    """Pairs of a short name and the path, for a list to choose from."""
    return [(path.removesuffix(".weights.h5"), path) for path in paths]


def _changed(path):
    try:
        return path.stat().st_mtime
    except OSError:  # withdrawn meanwhile, as a training does with its best
        return 0


def _is_weights(name):
    imagenet = (one for each in BACKBONES.values() for one in (each.keras, each.torchvision) if one)
    return (
        name.endswith(_ENDS)
        and not name.startswith((_STATE, "."))
        and name not in {one.name for one in imagenet}
    )


def describe(path):
    """One or two sentences on a weights file: classes, encoder, size of the images.

    Args:
        path: Path.

    Raises:
        UserError: if it is no weights file of a whole network.
    """
    changed = path.stat() if path.is_file() else None  # reading it says that there is none
    return _describe(path, changed and (changed.st_mtime_ns, changed.st_size))


@lru_cache(maxsize=64)
def _describe(path, _version):
    with quiet() if in_script() else nullcontext():  # TensorFlow greets
        from nets.trained import resolve_description
        from nets.weights.storage import open_weights

    stored = open_weights(path)
    described = resolve_description(stored, None, None, None, None)
    names = ", ".join(described.name_classes)
    height, width = described.input_shape
    kind = "" if stored.description else f" The file says little of itself: {stored.kind}."
    return (
        f"{described.num_classes} classes: {names}. Encoder {described.backbone}; images of "
        f"{_channels(described.in_channels)}, at {height}x{width} (height x width).{kind}"
    )


def _channels(count):
    return {1: "one channel", 3: "three channels"}.get(count, f"{count} channels")
