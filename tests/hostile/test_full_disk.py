"""A disk that is full, or a limit that is reached, while results are written: one line, no halves.

`RLIMIT_FSIZE` stands in for the disk: files may not grow beyond so many bytes.
"""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import train
from utils.prediction import export_formats

resource = pytest.importorskip("resource")
ROOT = Path(train.__file__).parent


def run(name, *argv, folder, limit):
    """(status, what a script says on stderr) where files may have so many bytes."""
    done = subprocess.run(
        [sys.executable, ROOT / f"{name}.py", *map(str, argv)],
        cwd=folder,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr + done.stdout
    return done.returncode, done.stderr


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_one_line(message, name):
    """One error, which names what could not be written and what to do."""
    assert message.count("\n") == 1
    assert re.fullmatch(
        rf"error: \[Errno {errno.EFBIG}\] File too large: '[^']*{name}[^']*'\. The file would be "
        r"larger than what is allowed here \(ulimit -f\)\.\n",
        message,
    ), message


@pytest.fixture
def labelme(tmp_path):
    """A folder of labelme files."""
    folder = tmp_path / "labelme"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        pixels = rng.integers(0, 256, (90, 80, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        shape = {"label": "cat", "points": [[0, 0], [8, 0], [8, 8]], "shape_type": "polygon"}
        data = {"version": "5.0.0", "shapes": [shape], "imagePath": f"{name}.png"}
        data |= {"imageData": None, "imageHeight": 90, "imageWidth": 80}
        (folder / f"{name}.json").write_text(json.dumps(data))
    return folder


@pytest.mark.parametrize("limit", [5, 50, 500, 5000])
def test_a_conversion_leaves_nothing(labelme, tmp_path, limit):
    before = contents(tmp_path)
    status, message = run("json_to_dataset", "--annotations", labelme, folder=tmp_path, limit=limit)
    assert status == 2
    assert_one_line(message, "VOC2007")
    assert contents(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} == {"labelme"}


@pytest.mark.parametrize("limit", [5, 100, 700])
def test_a_corrected_copy_leaves_nothing(voc_dir, tmp_path, limit):
    for path in (voc_dir / "VOC2007" / "SegmentationClass").glob("*.png"):
        ids = np.array(Image.open(path))
        Image.fromarray(np.where(ids == 255, 0, ids) * 50).save(path)  # 0, 50, 100
    before = contents(tmp_path)
    status, message = run("voc_annotation", "--fix", folder=tmp_path, limit=limit)
    assert status == 2
    assert_one_line(message, "VOC2007_fixed")
    assert contents(tmp_path) == before
    assert {path.name for path in voc_dir.iterdir()} == {"VOC2007"}


def test_lists_that_are_there_stay(voc_dir, tmp_path):
    lists = voc_dir / "VOC2007" / "ImageSets" / "Segmentation"
    before = contents(voc_dir)
    status, message = run("voc_annotation", folder=tmp_path, limit=5)
    assert status == 2
    assert "error: The lists can't be written into" in message
    assert contents(voc_dir) == before
    assert {path.name for path in lists.iterdir()} == {"train.txt", "val.txt"}


class ResourceExhaustedError(Exception):
    """As TensorFlow's, which is no OSError."""


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG, errno.EROFS])
def test_an_export_says_what_tensorflow_says_of_the_disk(tmp_path, code):
    own = ResourceExhaustedError(f"{{node SaveV2}} {tmp_path}/x.tempstate; {os.strerror(code)}")
    with (
        pytest.raises(OSError) as caught,
        export_formats.named_as_os_errors(tmp_path / "unet.onnx"),
    ):
        raise own
    assert caught.value.errno == code
    assert caught.value.filename == str(tmp_path / "unet.onnx")
    assert caught.value.__cause__ is own


@pytest.mark.parametrize("error", [ValueError("a defect"), PermissionError(13, "No", "x")])
def test_an_export_keeps_other_errors(tmp_path, error):
    with pytest.raises(type(error)) as caught, export_formats.named_as_os_errors(tmp_path):
        raise error
    assert caught.value is error
