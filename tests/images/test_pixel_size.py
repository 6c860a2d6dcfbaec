"""How large a pixel is, as microscopes, ImageJ and other programs write it."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from utils.images.pixel_size import PixelSize, read_pixel_size

PIXELS = np.zeros((4, 6), np.uint8)
TAGS = "the tags XResolution and ResolutionUnit"


@pytest.fixture
def written(tmp_path):
    """written(**options): what is read of a TIFF that tifffile writes with these options."""

    def run(name="a.tif", **options):
        path = tmp_path / name
        tifffile.imwrite(path, PIXELS, photometric="minisblack", **options)
        return read_pixel_size(path)

    return run


def assert_size(found, micrometres, source):
    assert found == PixelSize(pytest.approx(micrometres, rel=1e-6), source)


@pytest.mark.parametrize(
    ("unit", "per_pixel"),
    [("um", 0.25), ("micron", 0.25), ("\\u00B5m", 0.25), ("nm", 0.00025),
     ("mm", 250), ("cm", 2500), ("m", 250_000), ("inch", 6350)],
)  # fmt: skip
def test_imagej(written, unit, per_pixel):
    found = written(imagej=True, resolution=(4, 4), metadata={"unit": unit})
    assert_size(found, per_pixel, "ImageJ's description")


@pytest.mark.parametrize("unit", ["\u00b5m", "\u03bcm"])
def test_imagej_with_greek_letters(written, unit):
    text = f"ImageJ=1.54f\nunit={unit}\n".encode()
    found = written(description=text, metadata=None, resolution=(4, 4), resolutionunit="NONE")
    assert_size(found, 0.25, "ImageJ's description")


@pytest.mark.parametrize("metadata", [{}, {"unit": "pixel"}, {"unit": "furlong"}])
def test_imagej_without_a_length(written, metadata):
    assert written(imagej=True, resolution=(4, 4), metadata=metadata) is None


def test_imagej_repeats_the_resolution_for_print(written):
    assert written(imagej=True, resolution=(72, 72), metadata={"unit": "inch"}) is None


@pytest.mark.parametrize(
    ("unit", "micrometres"), [(None, 0.5), ("nm", 0.0005), ("\u00b5m", 0.5), ("mm", 500)]
)
def test_ome(written, unit, micrometres):
    metadata = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    if unit:
        metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    # The tags say something else.
    options = {"resolution": (1000, 1000), "resolutionunit": "CENTIMETER"}
    found = written("a.ome.tif", ome=True, metadata=metadata, **options)
    assert_size(found, micrometres, "OME-XML")


def test_ome_without_a_size_leaves_it_to_the_tags(written):
    options = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    found = written("a.ome.tif", ome=True, metadata={"axes": "YX"}, **options)
    assert_size(found, 0.5, TAGS)
    odd = {"axes": "YX", "PhysicalSizeX": 2, "PhysicalSizeXUnit": "pixel"}
    assert_size(written("b.ome.tif", ome=True, metadata=odd, **options), 0.5, TAGS)


def test_ome_that_is_no_xml_is_none(written):
    text = "<?xml version='1.0'?><OME xmlns='http://www.openmicroscopy.org/Schemas/OME/2016-06'><x></OME>"
    assert written(description=text, metadata=None) is None


@pytest.mark.parametrize(
    ("unit", "resolution", "micrometres"),
    [("CENTIMETER", 40_000, 0.25), ("INCH", 50_800, 0.5), ("CENTIMETER", 3, 3333.3333333)],
)
def test_tags(written, unit, resolution, micrometres):
    found = written(resolution=(resolution, resolution), resolutionunit=unit)
    assert_size(found, micrometres, TAGS)


@pytest.mark.parametrize(
    ("unit", "resolution"),
    [("INCH", 72), ("INCH", 96), ("INCH", 300), ("INCH", 600), ("CENTIMETER", 118.11),
     ("CENTIMETER", 28.35), ("NONE", 40_000)],
)  # fmt: skip
def test_resolutions_for_print_and_without_unit_are_passed_over(written, unit, resolution):
    assert written(resolution=(resolution, resolution), resolutionunit=unit) is None


def test_pixels_that_are_not_square_have_no_size(written):
    options = {"imagej": True, "metadata": {"unit": "um"}}
    assert written(resolution=(4, 5), **options) is None
    assert_size(written(resolution=(4, 4.01), **options), 0.25, "ImageJ's description")


def test_other_files_have_none(tmp_path, written):
    assert written() is None
    Image.fromarray(PIXELS).save(tmp_path / "a.png", dpi=(25_400, 25_400))
    Image.fromarray(PIXELS).save(tmp_path / "pillow.tif", dpi=(25_400, 25_400))
    (tmp_path / "broken.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:60])
    found = [read_pixel_size(tmp_path / name) for name in ("a.png", "broken.tif", "none.tif")]
    assert found == [None] * 3
    assert_size(read_pixel_size(tmp_path / "pillow.tif"), 1, TAGS)
