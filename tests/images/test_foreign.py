"""Types of images that need another package, or to be converted."""

import importlib.util
import struct

import numpy as np
import pytest
from PIL import Image

import voc_annotation
from errors import UserError
from utils.data.voc import image_extensions, read_samples
from utils.images import foreign
from utils.images.deep import read_numbers
from utils.images.foreign import advice, describe_foreign, files_below, is_dicom, is_heic
from utils.images.header import read_header
from utils.images.reading import read_image
from utils.prediction.output_paths import plan_results

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
DICOM = bytes(128) + b"DICM"


@pytest.fixture
def bare(monkeypatch):
    """As if no further package were there."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        foreign.importlib.util,
        "find_spec",
        lambda name: None if name in ("pillow_heif", "pydicom") else found(name),
    )
    foreign.is_installed.cache_clear()
    yield
    foreign.is_installed.cache_clear()


@pytest.mark.parametrize(
    ("name", "start", "remedy"),
    [
        ("a.heic", HEIC, "it is a HEIC file: pip install pillow-heif, or save it as JPEG or PNG."),
        ("a.jpg", HEIC, "it is a HEIC file: pip install pillow-heif"),  # as phones are told to
        ("a.dcm", DICOM, "it is a DICOM file: pip install pydicom, or save each slice as TIFF."),
        ("IM0001", DICOM, "it is a DICOM file: pip install pydicom"),
        ("a.nii.gz", b"\x1f\x8b", "it is a NIfTI file: it is a volume; write each slice as TIFF"),
        ("a.NII", b"\\\x01", "it is a NIfTI file"),
        ("a.npy", b"\x93NUMPY", "it is a NumPy file: write it as TIFF: tifffile.imwrite("),
        ("a.png", b"\x93NUMPY", "it is a NumPy file"),
        ("a.nrrd", b"NRRD0004", "it is a MetaImage or NRRD file: write each slice as TIFF."),
        ("a.CR2", b"raw!", "it is a camera raw file: export it as TIFF or PNG."),
        ("a.czi", b"ZISRAW", "it is a microscope file: export it as TIFF."),
    ],
)
@pytest.mark.parametrize("function", [read_image, read_header])
def test_what_to_do_is_said(tmp_path, bare, function, name, start, remedy):
    path = tmp_path / name
    path.write_bytes(start)
    with pytest.raises(UserError) as caught:
        function(path)
    assert str(caught.value).startswith(f"The image {path} can't be read: {remedy}")


def test_of_other_files_there_is_no_more_to_say(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing at all")
    assert advice(tmp_path / "a.png") == advice(tmp_path / "none.png") == advice("a\0b") == ""
    assert not is_dicom(tmp_path / "none.dcm")
    assert not is_heic(b"\0\0\0\x18ftypavif")


def test_files_are_counted_by_type(bare):
    names = ["a.jpg", "b.dcm", "c.DCM", "d.npy", "e.txt"]
    assert describe_foreign(names) == [
        "2 DICOM files, such as b.dcm: pip install pydicom, or save each slice as TIFF",
        "1 NumPy file, such as d.npy: write it as TIFF: tifffile.imwrite('image.tif', "
        "numpy.load('image.npy'), photometric='minisblack')",
    ]


def test_the_advice_for_arrays_works(tmp_path, rng):
    import tifffile

    values = rng.integers(0, 4096, (9, 8)).astype(np.uint16)
    np.save(tmp_path / "image.npy", values)
    text = describe_foreign(["image.npy"])[0].split(": ", 2)[2]
    for name in ("image.tif", "image.npy"):
        text = text.replace(f"'{name}'", repr(str(tmp_path / name)))
    exec(text, {"tifffile": tifffile, "numpy": np})
    np.testing.assert_array_equal(read_numbers(tmp_path / "image.tif", 100).values[..., 0], values)


def test_a_dataset_of_such_files(voc_dir, bare, capsys):
    folder = voc_dir / "VOC2007" / "JPEGImages"
    (folder / "val_a.jpg").rename(folder / "val_a.heic")
    voc_annotation.main(voc_annotation.AnnotationConfig(str(voc_dir), check_only=True))
    said = capsys.readouterr().out
    assert "1 HEIC file, such as val_a.heic: pip install pillow-heif, or save it as" in said
    with pytest.raises(UserError, match=r"can be read\. There is 1 HEIC file, such as val_a\.heic"):
        read_samples(voc_dir, "val")
    for path in folder.iterdir():
        path.rename(path.with_suffix(".npy"))
    with pytest.raises(
        UserError, match=r"no image with a mask\. .* JPEGImages holds 6 NumPy files"
    ):
        voc_annotation.main(voc_annotation.AnnotationConfig(str(voc_dir), check_only=True))


def test_a_folder_of_such_files_to_predict(tmp_path, bare):
    (tmp_path / "in" / ".hidden").mkdir(parents=True)
    for name in ("a.dcm", ".b.dcm", ".hidden/c.dcm"):
        (tmp_path / "in" / name).write_bytes(DICOM)
    assert files_below(tmp_path / "in") == [str(tmp_path / "in" / "a.dcm")]
    with pytest.raises(UserError, match=r"There is no image in .* It holds 1 DICOM file, such as"):
        plan_results(tmp_path / "in", tmp_path / "out")


def test_packages_that_are_there_add_their_types(monkeypatch):
    """Stand-ins for the packages: what is asked is whether they are there."""
    monkeypatch.setattr(foreign.importlib.util, "find_spec", lambda name: object())
    foreign.is_installed.cache_clear()
    assert {".heic", ".dcm"} <= image_extensions()
    assert not {".npy", ".nii"} & image_extensions()
    foreign.is_installed.cache_clear()


def test_heic_is_read(tmp_path, rng):
    heif = pytest.importorskip("pillow_heif")
    colors = np.kron(rng.integers(0, 256, (5, 6, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    heif.from_pillow(Image.fromarray(colors)).save(tmp_path / "a.heic", quality=100)
    assert read_header(tmp_path / "a.heic").size == (80, 96)
    found = read_image(tmp_path / "a.heic").astype(int)
    assert np.abs(found - colors).mean() < 3  # it is compressed with loss


# DICOM

KINDS = {"uint8": 8, "uint16": 16, "int16": 16}


def write_dicom(path, values, photometric="MONOCHROME2", **fields):
    """A DICOM file without compression, from its standard alone: explicit, little endian.

    Args:
        values: array (H, W) or (H, W, 3); or (frames, H, W), with NumberOfFrames in `fields`.
        fields: of (tag, kind, value), by any name.
    """
    is_color = not photometric.startswith("MONO")
    height, width = values.shape[:2] if is_color else values.shape[-2:]
    bits = 8 * values.dtype.itemsize
    elements = [
        (0x00280002, "US", 3 if is_color else 1),
        (0x00280004, "CS", photometric),
        *([(0x00280006, "US", 0)] if is_color else []),
        (0x00280010, "US", height),
        (0x00280011, "US", width),
        (0x00280100, "US", bits),
        (0x00280101, "US", bits),
        (0x00280102, "US", bits - 1),
        (0x00280103, "US", int(values.dtype.kind == "i")),
        *fields.values(),
    ]
    pixels = values.tobytes() + bytes(values.nbytes % 2)
    body = b"".join(_element(*one) for one in sorted(elements))
    body += struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, len(pixels)) + pixels
    meta = _element(0x00020010, "UI", "1.2.840.10008.1.2.1")
    meta = _element(0x00020000, "UL", len(meta)) + meta
    path.write_bytes(DICOM + meta + body)
    return path


def _element(tag, kind, value):
    if kind in ("US", "UL"):
        data = struct.pack("<H" if kind == "US" else "<I", value)
    else:
        data = value.encode() + (b"\0" if kind == "UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, kind.encode(), len(data)) + data


@pytest.fixture
def hounsfield(tmp_path, rng):
    """(path, values) of a slice of computed tomography: stored numbers from 0, rescaled."""
    pytest.importorskip("pydicom")
    stored = rng.integers(0, 4096, (9, 12)).astype(np.uint16)
    path = write_dicom(
        tmp_path / "a.dcm",
        stored,
        intercept=(0x00281052, "DS", "-1024"),
        slope=(0x00281053, "DS", "1"),
    )
    return path, stored.astype(int) - 1024


def test_dicom_is_rescaled(hounsfield):
    path, values = hounsfield
    np.testing.assert_array_equal(read_numbers(path, 1000).values[..., 0], values)
    header = read_header(path)
    assert (header.size, header.channels, header.is_deep) == ((9, 12), (1, 3), True)
    pixels = read_image(path, value_range=(-1000.0, 2000.0))
    expected = np.clip(np.rint((values + 1000) * 255 / 3000), 0, 255)
    assert pixels.shape == (9, 12, 3)
    np.testing.assert_array_equal(pixels, expected[..., None].repeat(3, axis=2))


def test_dicom_with_a_slope_that_is_no_integer(tmp_path, rng):
    pytest.importorskip("pydicom")
    stored = rng.integers(-500, 500, (4, 6)).astype(np.int16)
    fields = {"slope": (0x00281053, "DS", "0.5"), "intercept": (0x00281052, "DS", "3")}
    path = write_dicom(tmp_path / "a.dcm", stored, **fields)
    found = read_numbers(path, 1000).values
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[..., 0], stored * 0.5 + 3)


def test_dicom_whose_0_is_white(tmp_path):
    pytest.importorskip("pydicom")
    stored = np.array([[0, 100, 4095]], np.uint16)
    path = write_dicom(tmp_path / "a.dcm", stored, "MONOCHROME1")
    assert read_header(path).notes == ("picture_inverted",)
    pixels = read_image(path, value_range=(0.0, 4095.0), in_channels=1)
    assert pixels[..., 0].tolist() == [[255, 249, 0]]  # 255 - 100 x 255 / 4095 = 248.8


def test_dicom_colours_stay_as_they_are(tmp_path, rng):
    pytest.importorskip("pydicom")
    colors = rng.integers(0, 256, (4, 6, 3)).astype(np.uint8)
    path = write_dicom(tmp_path / "a.dcm", colors, "RGB")
    assert not read_header(path).is_deep
    np.testing.assert_array_equal(read_image(path), colors)


def test_dicom_of_several_frames(tmp_path):
    pytest.importorskip("pydicom")
    frames = (0x00280008, "IS", "2")
    path = write_dicom(tmp_path / "a.dcm", np.zeros((2, 4, 6), np.uint16), frames=frames)
    with pytest.raises(UserError, match=r"it holds 2 images\. Write each to a file of its own"):
        read_image(path)


def test_broken_dicom(hounsfield):
    path, _ = hounsfield
    data = path.read_bytes()
    for end in (140, 200, len(data) - 50):
        path.write_bytes(data[:end])
        with pytest.raises(UserError, match=r"a\.dcm can't be read: ") as caught:
            read_image(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(data.replace(b"MONOCHROME2 ", b"HSV         "))
    with pytest.raises(UserError, match="its colours are HSV"):
        read_image(path)
