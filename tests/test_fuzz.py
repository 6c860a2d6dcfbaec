"""Broken, odd and huge image files: one line or the right result, and the process goes on."""

import io
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

import predict
from errors import UserError
from nets import unet as networks
from nets.weights.description import Description
from nets.weights.storage import save_weights
from predict import PredictConfig
from utils.data.voc import image_extensions
from utils.images import reading as image_files
from utils.images.header import image_size
from utils.images.reading import read_image

ROOT = Path(predict.__file__).parent
LIMIT = 2**20  # pixels; a flipped bit may make an image any size

# Pytest shows what `utils.images.reading` has silenced.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]

# Everything common that Pillow writes: name -> mode and options.
FORMATS = {
    "a.png": ("RGB", {}),
    "palette.png": ("P", {}),
    "moving.png": ("RGB", {"save_all": True, "append_images": 2}),
    "a.jpg": ("RGB", {}),
    "grey.jpg": ("L", {}),
    "progressive.jpg": ("RGB", {"progressive": True}),
    "cmyk.jpg": ("CMYK", {}),
    "turned.jpg": ("RGB", {"exif": 6}),
    "raw.tif": ("RGB", {}),
    "lzw.tif": ("RGB", {"compression": "tiff_lzw"}),
    "deflate.tif": ("L", {"compression": "tiff_adobe_deflate"}),
    "packbits.tif": ("RGBA", {"compression": "packbits"}),
    "jpeg.tif": ("RGB", {"compression": "jpeg"}),
    "fax.tif": ("1", {"compression": "group4"}),
    "floats.tif": ("F", {}),
    "pages.tif": ("RGB", {"save_all": True, "append_images": 2}),
    "a.bmp": ("RGB", {}),
    "grey.bmp": ("L", {}),
    "a.gif": ("P", {}),
    "moving.gif": ("P", {"save_all": True, "append_images": 2}),
    "a.webp": ("RGB", {}),
    "lossless.webp": ("RGBA", {"lossless": True}),
    "moving.webp": ("RGB", {"save_all": True, "append_images": 2}),
    "a.avif": ("RGB", {}),
    "a.jp2": ("RGB", {}),
    "a.ppm": ("RGB", {}),
    "a.pgm": ("I;16", {}),
    "a.pbm": ("1", {}),
    "a.pfm": ("F", {}),
    "a.tga": ("RGBA", {"compression": "tga_rle"}),
    "a.pcx": ("RGB", {}),
    "a.sgi": ("RGB", {}),
    "a.dds": ("RGBA", {}),
    "a.ico": ("RGBA", {}),
    "a.icns": ("RGBA", {}),
    "a.xbm": ("1", {}),
    "a.msp": ("1", {}),
    "telephone.jpg": ("RGB", {"format": "MPO", "save_all": True, "append_images": 2}),
    "a.qoi": ("RGB", {}),
}


def encode(name, size=(30, 40)):
    """An image of noise, of this format, as bytes."""
    mode, options = FORMATS[name]
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    image = Image.fromarray(pixels)
    image = Image.fromarray(pixels[..., 0].astype(np.uint16)) if mode == "I;16" else image
    image, options = image.convert(mode), dict(options)
    if more := options.get("append_images"):
        options["append_images"] = [image.rotate(180)] * more
    if orientation := options.pop("exif", None):
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    with io.BytesIO() as file:
        extension = os.path.splitext(name)[1]
        image.save(file, **{"format": Image.registered_extensions()[extension]} | options)
        return file.getvalue()


def assert_one_line_or_an_image(path):
    """Reads a file; returns the image or None."""
    try:
        pixels = read_image(path, LIMIT)
    except UserError as error:
        assert str(error).startswith(f"The image {path} ")
        assert "\n" not in str(error)
        return None
    assert (pixels.ndim, pixels.shape[2], pixels.dtype) == (3, 3, np.uint8)
    assert pixels.shape[0] * pixels.shape[1] <= LIMIT
    return pixels


# Reading


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_files_cut_off_anywhere(tmp_path, monkeypatch, name, large):
    monkeypatch.setattr(image_files, "_LARGE", 100 if large else 10**9)
    data, path = encode(name), tmp_path / name
    path.write_bytes(data)
    whole = assert_one_line_or_an_image(path)
    assert whole is not None
    for length in {0, 1, 7, 20, 60, len(data) // 10, len(data) // 4, len(data) // 2}:
        path.write_bytes(data[:length])
        found = assert_one_line_or_an_image(path)
        # What there is of several images may hold the first; of icons, a smaller one.
        if found is not None and name != "a.icns":
            assert "append_images" in FORMATS[name][1]
            np.testing.assert_array_equal(found, whole)
    for length in (len(data) * 9 // 10, len(data) - 1):
        path.write_bytes(data[:length])
        assert_one_line_or_an_image(path)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_files_with_wrong_bytes(tmp_path, monkeypatch, name, large):
    monkeypatch.setattr(image_files, "_LARGE", 100 if large else 10**9)
    data, path, rng = encode(name), tmp_path / name, np.random.default_rng(1)
    for turn in range(24):
        wrong = np.frombuffer(data, np.uint8).copy()
        # Half of the time in the header, where bytes mean most.
        end = min(len(wrong), 100) if turn % 2 else len(wrong)
        places = rng.integers(0, end, 1 + turn // 4)
        wrong[places] ^= rng.integers(1, 256, len(places)).astype(np.uint8)
        path.write_bytes(wrong.tobytes())
        assert_one_line_or_an_image(path)


@pytest.mark.parametrize("name", FORMATS)
def test_headers_with_noise_behind(tmp_path, name):
    data, path, rng = encode(name), tmp_path / name, np.random.default_rng(2)
    for length in (2, 4, 8, 12, 16, 30, 60, 200):
        path.write_bytes(data[:length] + rng.bytes(500))
        assert_one_line_or_an_image(path)


@given(st.binary(max_size=300), st.sampled_from(sorted(image_extensions())))
def test_random_bytes(tmp_path, data, extension):
    path = tmp_path / f"picture{extension}"
    path.write_bytes(data)
    assert_one_line_or_an_image(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "lzw.tif"])
@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".bmp", ".ico"])
def test_what_a_file_holds_counts_not_its_extension(tmp_path, name, extension):
    (tmp_path / name).write_bytes(encode(name))
    expected = read_image(tmp_path / name)
    path = tmp_path / f"renamed{extension}"
    path.write_bytes(encode(name))
    np.testing.assert_array_equal(read_image(path), expected)


# Bombs: small files, huge images


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claiming_png(width, height, data=b""):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def claiming_gif(width, height):
    data = bytearray(encode("a.gif"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def claiming_bmp(width, height):
    data = bytearray(encode("a.bmp"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def claiming_jpeg(width, height):
    data = bytearray(encode("a.jpg"))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(data)


BOMBS = {
    "largest.png": claiming_png(2**31 - 1, 2**31 - 1),
    "zeros.png": claiming_png(50_000, 50_000, zlib.compress(bytes(10**7))),
    "a.gif": claiming_gif(65_535, 65_535),
    "a.bmp": claiming_bmp(2**30, 2**30),
    "a.jpg": claiming_jpeg(65_500, 65_500),
    "a.ppm": b"P6 99999999 99999999 255\n" + bytes(100),
    "a.qoi": b"qoif" + struct.pack(">II", 10**6, 10**6) + bytes(100),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(BOMBS[name])
    with pytest.raises(UserError, match=r"pixels; max_pixels is 500,000,000\."):
        read_image(path)
    with pytest.raises(UserError, match=r"pixels; max_pixels is 1,200,000,000\."):
        read_image(path, 1_200_000_000)


def ico(data, bits=24):
    """An icon that claims 16x16 pixels, and holds this image."""
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, bits, len(data), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + data


def icns(data):
    """An Apple icon that claims 1024x1024 pixels, and holds this image."""
    return (
        b"icns"
        + struct.pack(">I", len(data) + 16)
        + b"ic10"
        + (struct.pack(">I", len(data) + 8) + data)
    )


@pytest.mark.parametrize("name", ["a.ico", "a.icns", "dib.ico"])
def test_bombs_within_icons(tmp_path, monkeypatch, name):
    path, loads = tmp_path / name, []
    bomb = claiming_png(40_000, 40_000, zlib.compress(bytes(10**6)))
    dib = claiming_bmp(40_000, 80_000)[14:] + bytes(1000)
    path.write_bytes({"a.ico": ico(bomb), "a.icns": icns(bomb), "dib.ico": ico(dib)}[name])
    prepare = ImageFile.ImageFile.load_prepare
    monkeypatch.setattr(
        ImageFile.ImageFile,
        "load_prepare",
        lambda image: (loads.append(image.size), prepare(image)),
    )
    with pytest.raises(UserError) as caught:
        read_image(path, 30_000_000)
    assert str(caught.value) == (
        f"The icon {path} holds an image of more than 30,000,000 pixels, which is max_pixels. "
        "Raise max_pixels if memory allows (4 bytes per pixel and more)."
    )
    with pytest.raises(UserError, match="holds an image of more than 500,000,000 pixels"):
        image_size(path)
    assert (40_000, 40_000) not in loads
    assert Image.MAX_IMAGE_PIXELS is None


@pytest.mark.parametrize("wrap", [ico, icns])
def test_icons_are_as_large_as_what_they_hold(tmp_path, wrap):
    path, image = tmp_path / "icon.ico", encode("a.png", (1024, 1024))
    path.write_bytes(wrap(image))
    (tmp_path / "a.png").write_bytes(image)
    assert image_size(path) == (1024, 1024)
    np.testing.assert_array_equal(read_image(path, 2**20), read_image(tmp_path / "a.png"))
    with pytest.raises(UserError, match=r"1,048,57\d.* max_pixels"):
        read_image(path, 2**20 - 2)


@pytest.mark.parametrize("name", ["zeros.png", "a.gif", "a.bmp", "a.jpg", "a.ppm", "a.qoi"])
def test_files_that_hold_less_than_they_claim(tmp_path, monkeypatch, name):
    """Within max_pixels, but most of the pixels are missing."""
    monkeypatch.setattr(image_files, "_LARGE", 1_000_000)
    makers = {
        "zeros.png": claiming_png(2000, 1000, zlib.compress(bytes(1000))),
        "a.gif": claiming_gif(2000, 1000),
        "a.bmp": claiming_bmp(2000, 1000),
        "a.jpg": claiming_jpeg(2000, 1000),
        "a.ppm": b"P6 2000 1000 255\n" + bytes(100),
        "a.qoi": b"qoif" + struct.pack(">II", 2000, 1000) + b"\3\0" + bytes(100),
    }
    path = tmp_path / name
    path.write_bytes(makers[name])
    try:
        # A GIF's frame may be smaller than its canvas, and libjpeg fills what is missing.
        assert read_image(path).shape == (1000, 2000, 3)
        assert name in ("a.gif", "a.jpg")
    except UserError as error:
        assert str(error).startswith(f"The image {path} can't be read: ")


# A folder of everything


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A network of width 4, untrained, for images of 32x48."""
    keras.utils.set_random_seed(0)
    network = networks.Unet((None, None, 3), 3, width=4)
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    save_weights(network, path, Description(3, "vgg", (32, 48), ("nothing", "cat", "猫"), 4))
    return path


@pytest.fixture
def segment(weights, tmp_path):
    """segment(**settings): segments the folder `in` into `out`; returns the exit status."""

    def run(**settings):
        given = {
            "model_path": str(weights),
            "mode": "dir_predict",
            "precision": "float32",
            "dir_origin_path": str(tmp_path / "in"),
            "dir_save_path": str(tmp_path / "out"),
        }
        return predict.main(PredictConfig(**given | settings))

    (tmp_path / "in").mkdir()
    return run


def write_odd_images(folder):
    """Writes images of every kind; returns {file name: (height, width)}, upright."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (20, 30, 3)).astype(np.uint8))
    for name in FORMATS:
        (folder / name).write_bytes(encode(name, (32, 32) if name == "a.icns" else (30, 40)))
    made = dict.fromkeys(FORMATS, (30, 40))
    made |= {"turned.jpg": (40, 30), "a.ico": None, "a.icns": None}  # icons have sizes
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F"):
        image = Image.fromarray(np.array(rgb.convert("L"), np.uint16)) if mode in "I;16" else rgb
        name = f"mode {mode.replace(';', '')}.{'tif' if mode in 'IF' else 'png'}"
        image.convert(mode).save(folder / name)
        made[name] = (20, 30)
    rgb.convert("P").save(folder / "cut out.png", transparency=b"\x00\x80")
    rgb.convert("CMYK").save(folder / "cmyk.tif")
    rgb.convert("LAB").save(folder / "lab.tif")
    made |= dict.fromkeys(("cut out.png", "cmyk.tif", "lab.tif"), (20, 30))
    for size in ((1, 1), (1, 30_000), (30_000, 1), (1, 2), (2, 1)):
        for end in ("png", "jpg", "tif"):
            name = f"{size[0]}x{size[1]}.{end}"
            Image.new("RGB", size[::-1], (9, 99, 200)).save(folder / name)
            made[name] = size
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for end in ("jpg", "png", "tif", "webp"):
            name = f"exif{orientation}.{end}"
            rgb.save(folder / name, exif=exif)
            made[name] = (20, 30) if orientation < 5 else (30, 20)
    rgb.save(folder / "名前 with spaces and 'quotes'.png")
    made["名前 with spaces and 'quotes'.png"] = (20, 30)
    return made


def write_broken_images(folder):
    """Writes files of every kind that hold no whole image; returns their names."""
    rng = np.random.default_rng(0)
    broken = {}
    for name, (_, options) in FORMATS.items():
        if "append_images" not in options:
            broken[f"cut {name}"] = encode(name)[: len(encode(name)) // 2]
            broken[f"noise {name}"] = rng.bytes(400)
    broken |= {f"bomb {name}": data for name, data in BOMBS.items()}
    broken |= {"empty.jpg": b"", "text.png": b"no image", "page.jpg": b"<html></html>"}
    for name, data in broken.items():
        (folder / name).write_bytes(data)
    return list(broken)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"mix_type": 0},
        {"mix_type": 3, "count": True, "legend": True, "batch_size": 7},
        {"mix_type": 1, "tile": True, "tta": "h", "batch_size": 1},
    ],
    ids=["plain", "counted", "tiled"],
)
def test_a_folder_of_everything(segment, tmp_path, capfd, settings):
    good, bad = write_odd_images(tmp_path / "in"), write_broken_images(tmp_path / "in")
    for name in [name for name in good if "30000" in name or name == "a.icns"]:
        if settings.get("tile"):  # they would be very many
            good.pop(name)
            (tmp_path / "in" / name).unlink()
    assert segment(**settings) == 1
    printed = capfd.readouterr()
    lines = printed.err[printed.err.index("error: ") :].splitlines()
    assert lines[0] == f"error: {len(bad)} of {len(good) + len(bad)} images failed:"
    assert len(lines) == 1 + len(bad)
    for name, line in zip(sorted(bad), sorted(lines[1:]), strict=True):
        assert line.startswith(f"  The image {tmp_path / 'in' / name} ")
    assert "Traceback" not in printed.err
    assert f"{len(good)} images are segmented" in printed.out
    results = sorted((tmp_path / "out").iterdir())
    more = len(good) + 1 if settings.get("count") else 0  # regions of each, and of all
    assert len(results) == 2 * len(good) + more
    shared = {}
    for name in sorted({*good, *bad}):
        shared.setdefault(os.path.splitext(name)[0].lower(), []).append(name)
    for name, size in good.items():
        stem = os.path.splitext(name)[0]
        base = tmp_path / "out" / (name if len(shared[stem.lower()]) > 1 else stem)
        size = size or image_size(tmp_path / "in" / name)
        with Image.open(f"{base}_mask.png") as mask:
            assert (mask.mode, mask.size) == ("P", size[::-1]), name
            assert np.array(mask).max() < 3
        with Image.open(f"{base}.png") as drawn:
            assert (drawn.format, drawn.mode) == ("PNG", "RGB")
            drawn.load()
            if not settings.get("legend"):
                assert drawn.size == size[::-1], name


def test_thousands_of_broken_files_do_not_use_up_what_may_be_open(segment, tmp_path, capsys):
    resource = pytest.importorskip("resource")
    for index in range(150):
        (tmp_path / "in" / f"{index}.png").write_bytes(encode("a.png")[:-2000])
    assert segment(max_pixels=LIMIT) == 1  # everything that is opened only once is open now
    capsys.readouterr()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/dev/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 60, before[1]))
    try:
        assert segment(max_pixels=LIMIT) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: 150 of 150 images failed:"
    wrong = [line for line in lines[1:] if "can't be read: " not in line or "open files" in line]
    assert wrong == []


# Two runs, and no room

# A network that needs no TensorFlow: bright pixels are class 1.
STAND_IN = """
import sys, time, types
import numpy as np
import predict
from utils.config import run_script
from utils.prediction.draw import draw_mask
from utils.images.reading import read_image
from utils.prediction.stream import predict_all
from utils.labels import voc_palette

class Unet:
    precision_reason = report = "none"
    size_reason = ""
    description = types.SimpleNamespace(
        name_classes=("nothing", "cat"), in_channels=3, value_range=None
    )
    colors = voc_palette(256)
    def __init__(self, *args, **options): pass
    def predict_array(self, image, progress=False):
        return (image[..., 0] > 127).astype(np.uint8)
    def predict_files(self, paths, batch_size, finish, title, progress):
        def network(batch):
            bright = (batch[..., :1] > 0).astype(np.float32)
            return np.concatenate([1 - bright, bright], axis=-1)
        return predict_all(network, paths, (64, 64), read=read_image, finish=finish,
                           batch_size=batch_size)
    def draw(self, pixels, mask, legend, out):
        return draw_mask(pixels, mask, self.colors, 0, out)

sys.modules["unet"] = types.SimpleNamespace(Unet=Unet)
"""


def start(*argv, before=""):
    """Starts predict.py, with the stand-in, after the line `before`; returns the Popen."""
    code = f"{STAND_IN}\n{before}\n"
    code += "run_script(predict.main)"
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *argv],
        cwd=ROOT,
        env=environment | {"PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def folder_options(tmp_path, out="out"):
    origin, save = str(tmp_path / "in"), str(tmp_path / out)
    return ["--mode", "dir_predict", "--dir_origin_path", origin, "--dir_save_path", save]


@pytest.fixture
def noise_images(tmp_path, rng, write_image):
    """Thirty images in the folder `in`."""
    for index in range(30):
        pixels = rng.integers(0, 256, (60, 80 + index, 3)).astype(np.uint8)
        write_image(tmp_path / "in" / f"{index:02}.png", pixels)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.usefixtures("noise_images")
def test_two_runs_at_once_into_one_folder(tmp_path):
    alone = start(*folder_options(tmp_path, "alone"), "--count")
    assert alone.wait(60) == 0
    out = tmp_path / "out"
    runs = [start(*folder_options(tmp_path), "--count") for _ in range(3)]
    seen = 0
    while any(run.poll() is None for run in runs):
        for path in out.glob("[!.]*.png"):
            with Image.open(path) as image:
                image.load()  # whole, whenever one looks
            seen += 1
        time.sleep(0.01)
    assert [run.communicate()[1] for run in runs] == [""] * 3
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert contents(out) == contents(tmp_path / "alone")
    assert len(contents(out)) == 91  # with the table of the folder
    assert seen > 0


def assert_status_2(process, *parts):
    out, error = process.communicate(timeout=60)
    assert process.returncode == 2, error
    assert len(error.splitlines()) == 1
    assert error.startswith("error: ")
    for part in parts:
        assert str(part) in error
    assert "Traceback" not in out


needs_limits = pytest.mark.skipif(os.name != "posix", reason="needs limits on the size of files")


@needs_limits
@pytest.mark.usefixtures("noise_images")
@pytest.mark.parametrize("mode", ["dir_predict", "predict"])
@pytest.mark.parametrize("limit", [0, 100, 3000])
def test_no_room(tmp_path, mode, limit):
    """At the limit, as on a full disk, writing fails in the middle of a file."""
    options = folder_options(tmp_path)
    options[1] = mode
    if mode == "predict":
        options += ["--image", str(tmp_path / "in" / "*.png")]
    line = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    assert_status_2(start(*options, before=line), "File too large")
    # Masks are small, and there is room for some; what there is is whole.
    for path in (tmp_path / "out").iterdir():
        assert path.stat().st_size <= limit
        with Image.open(path) as image:
            image.load()
    assert limit or not list((tmp_path / "out").iterdir())
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.usefixtures("noise_images")
@pytest.mark.parametrize("mode", ["dir_predict", "predict"])
def test_no_folder_can_be_made_for_the_results(tmp_path, mode):
    (tmp_path / "file").write_text("no folder")
    options = folder_options(tmp_path, "file/out")
    options[1] = mode
    if mode == "predict":
        options += ["--image", str(tmp_path / "in" / "00.png")]
    assert_status_2(start(*options), "Not a directory", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "no folder"


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs POSIX permissions")
@pytest.mark.parametrize("mode", ["dir_predict", "predict"])
def test_no_write_permission(mode):
    # Outside tmp_path, which is for this user alone.
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        (folder / "in").mkdir()
        (folder / "in" / "a.png").write_bytes(encode("a.png"))
        (folder / "out").mkdir(0o555)
        options = folder_options(folder)
        options[1] = mode
        if mode == "predict":
            options += ["--image", str(folder / "in" / "a.png")]
        # The superuser may write anywhere, unless this right is given up.
        line = (
            "import os, utils.files, utils.prediction.regions, utils.data.masks\n"
            "from PIL import Image; Image.init()\n"
            "if os.getuid() == 0: os.setuid(65534)"
        )
        assert_status_2(start(*options, before=line), "Permission denied", folder / "out")
        assert list((folder / "out").iterdir()) == []
