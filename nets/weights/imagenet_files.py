"""Where ImageNet weights are: in files of Keras or torchvision on this machine, or to download.

Looked for in this order: `model_data/`, Keras' cache, PyTorch's cache, the user's mirror, Keras'
own server.
"""

import importlib.util
import os
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path

from errors import UserError
from nets.backbones import BACKBONES
from utils.files import home_folder

URL_VARIABLE = "UNET_KERAS_IMAGENET_URL"
_PATIENCE = 20  # seconds without a byte until a download is given up


class ImageNetMissingError(UserError):
    """No ImageNet weights are on this machine, and Keras' server can't be reached.

    Attributes:
        ways: str, where they were looked for, and every way to get them.
    """

    def __init__(self, ways):
        scratch = 'To train from scratch: python train.py --model_path ""'
        super().__init__(f"{ways}\n{scratch}")
        self.ways = ways


def find_imagenet(backbone, url="", folder="model_data", check=lambda path: None):
    """The file of ImageNet weights: one on this machine, or downloaded.

    Args:
        backbone: str, a key of `nets.backbones.BACKBONES`.
        url: str, a mirror: the address of a file, or of the folder that holds Keras' file;
            "": what the environment variable UNET_KERAS_IMAGENET_URL holds, if it is set.
        folder: where to look first, and where the mirror's file goes.
        check: callable from the mirror's file to None; raises UserError if it is not a weights
            file, which then is not kept.

    Returns:
        Path.

    Raises:
        ImageNetMissingError: if there is none and Keras' server can't be reached.
        UserError: if the mirror does not give the weights.
    """
    paths, unreadable = find_local(backbone, folder)
    if paths:
        return paths[0]
    url = url or os.environ.get(URL_VARIABLE, "")
    if url:
        return _download_from_mirror(backbone, url, Path(folder), check)
    file = BACKBONES[backbone].keras
    try:
        return _download(file.name, file.url, cache_subdir="models", file_hash=file.hash or None)
    except Exception as error:  # get_file raises plain Exceptions too
        raise ImageNetMissingError(_explain(backbone, folder, unreadable, error)) from error


def find_local(backbone, folder="model_data"):
    """Files of ImageNet weights on this machine.

    Returns:
        (list of Path, the best first; list of Path of torchvision's files, which can't be
        read since PyTorch is not installed).
    """
    of_keras, of_torch = BACKBONES[backbone].keras, BACKBONES[backbone].torchvision
    readable, torch_files = [], []
    for place in (Path(folder), _keras_cache(), _torch_cache()):
        readable += [path for path in [place / of_keras.name] if path.is_file()]
        if of_torch is None:
            continue
        # The first of torchvision's ResNet50 before the newer, whose recipe transfers worse.
        found = sorted(place.glob(of_torch.pattern), key=lambda path: path.name != of_torch.name)
        torch_files += found
        readable += found if _has_torch() else []
    return readable, [] if _has_torch() else torch_files


def _has_torch():
    return importlib.util.find_spec("torch") is not None


def _keras_cache():
    return Path(os.environ.get("KERAS_HOME") or home_folder() / ".keras") / "models"


def _torch_cache():
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home_folder() / ".cache")
    return Path(os.environ.get("TORCH_HOME") or cache / "torch") / "hub" / "checkpoints"


def _explain(backbone, folder, unreadable, error):
    """Every way to ImageNet weights, for who has none."""
    of_keras, of_torch = BACKBONES[backbone].keras, BACKBONES[backbone].torchvision
    lines = [
        f"There are no ImageNet weights for {backbone} in {folder}, {_keras_cache()} and "
        f"{_torch_cache()}, and they can't be downloaded ({error}).",
        "Ways to get them:",
        f"  - put {of_keras.name} ({of_keras.megabytes} MB) into {folder}/, from {of_keras.url}",
    ]
    if of_torch:
        lines.append(
            f"  - or {of_torch.name} ({of_torch.megabytes} MB), from {of_torch.url} "
            "(needs: pip install -r requirements-torch.txt)"
        )
    lines.append(
        f"  - or set imagenet_url, or the environment variable {URL_VARIABLE}, to a mirror: the "
        "address of such a file, or of the folder that holds it"
    )
    lines += [
        f"  - {path} is there: pip install -r requirements-torch.txt makes it readable"
        for path in unreadable
    ]
    return "\n".join(lines)


def _download(name, url, **options):
    import keras  # takes seconds; who has the file does without

    with _timeout(_PATIENCE):
        return Path(keras.utils.get_file(name, url, **options))


def _download_from_mirror(backbone, url, folder, check):
    """Fetches the mirror's file into `folder`, if it is one of ImageNet weights."""
    record = BACKBONES[backbone]
    if url.endswith(".pth") and record.torchvision is None:
        raise UserError(
            f"The mirror {url} is a file of PyTorch, but of {backbone} only Keras' files can be "
            f"read. Give the address of {record.keras.name}, or of the folder that holds it."
        )
    address = url if url.endswith((".h5", ".pth")) else f"{url.rstrip('/')}/{record.keras.name}"
    name = (record.torchvision if address.endswith(".pth") else record.keras).name
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
        try:
            path = _download(name, address, cache_dir=scratch, cache_subdir="")
        except Exception as error:  # get_file raises plain Exceptions too
            raise UserError(
                f"The mirror {address} does not give the ImageNet weights ({error}). Correct "
                f"imagenet_url or {URL_VARIABLE}, or leave it empty."
            ) from error
        with open(path, "rb") as file:
            start = file.read(1024).lstrip()
        if start.startswith(b"<"):
            raise UserError(
                f"The mirror {address} answered with a web page (HTML) instead of {name}. Give the "
                "address under which the file itself is downloaded, or put the file into "
                f"{folder}/."
            )
        check(path)
        return path.replace(folder / name)


@contextmanager
def _timeout(seconds):
    former = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(former)
