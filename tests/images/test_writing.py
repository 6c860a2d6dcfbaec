"""PNG files: whole or not there, at any size."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from utils.images import writing
from utils.images.writing import save_png

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", ["a.png", "猫 1.png"])
def test_a_png_holds_the_pixels(tmp_path, rng, monkeypatch, large, name):
    monkeypatch.setattr(writing, "_LARGE", 100 if large else 10**9)
    pixels = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
    save_png(tmp_path / name, given := pixels.copy())
    with Image.open(tmp_path / name) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.array(image), pixels)
    # A large array is not copied: its channels are swapped in it.
    np.testing.assert_array_equal(given, pixels[..., ::-1] if large else pixels)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("size", [(1, 1), (1, 1_000_001), (1_000_001, 1)])
def test_pngs_of_any_size(tmp_path, size):
    pixels = np.full((*size, 3), (10, 20, 30), np.uint8)
    save_png(tmp_path / "a.png", pixels.copy())
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.array(image), pixels)


@pytest.mark.skipif(os.name != "posix", reason="needs limits on the size of files")
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("limit", [0, 4, 5000])
def test_a_png_for_which_there_is_no_room_is_no_file(tmp_path, large, limit):
    (tmp_path / "old.png").write_text("old")
    code = (
        "import resource, sys\n"
        "import numpy as np\n"
        "from utils.images import writing\n"
        f"writing._LARGE = {100 if large else 10**9}\n"
        "pixels = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "for name in ('old.png', 'new.png'):\n"
        "    try:\n"
        "        writing.save_png(f'{sys.argv[1]}/{name}', pixels.copy())\n"
        "    except OSError as error:\n"
        "        print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    lines = subprocess.check_output(command, cwd=ROOT, text=True, timeout=60).splitlines()
    expected = "It could not be written whole. Is the disk full?" if large else "File too large"
    assert len(lines) == 2
    assert all(expected in line for line in lines)
    assert os.listdir(tmp_path) == ["old.png"]
    assert (tmp_path / "old.png").read_text() == "old"
