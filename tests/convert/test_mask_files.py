"""Reading masks of any lossless kind, as numbers and as colours."""

import numpy as np
import pytest
from PIL import Image

from errors import UserError
from utils.convert.mask_files import (
    by_stem,
    colors_to_ids,
    read_binary,
    read_colors,
    read_values,
    show_some,
    values_in,
)

IDS = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)


@pytest.fixture
def write(tmp_path):
    """write(image, name, **options): saves a PIL image; its path."""

    def write(image, name="a.png", **given):
        image.save(tmp_path / name, **given)
        return tmp_path / name

    return write


def palette_image(indices, *colors):
    image = Image.fromarray(np.array(indices, np.uint8))
    image.putpalette([value for color in colors for value in color])
    return image


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.gif", "a.tif"])
def test_grey_of_any_lossless_type(write, name):
    assert read_values(write(Image.fromarray(IDS), name)).tolist() == IDS.tolist()


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.gif", "a.tif"])
def test_palettes_give_their_indices(write, name):
    image = palette_image(IDS, (9, 9, 9), (200, 0, 0), (0, 200, 0))
    assert read_values(write(image, name)).tolist() == IDS.tolist()
    assert read_colors(write(image, name))[0].tolist() == [[9, 9, 9], [200, 0, 0], [0, 200, 0]]


def test_other_modes(write):
    grey = Image.fromarray(IDS)
    for image in (grey.convert("RGB"), grey.convert("RGBA"), grey.convert("LA")):
        assert read_values(write(image)).tolist() == IDS.tolist()
    for dtype in (np.uint16, np.float32, np.int32):
        path = write(Image.fromarray(IDS.astype(dtype) * 300), "a.tif")
        assert read_values(path).tolist() == (IDS.astype(int) * 300).tolist()
    assert read_values(write(Image.fromarray(IDS > 0))).tolist() == [[0, 1, 1], [1, 1, 0]]


def test_a_palette_of_white_and_black_is_read_by_its_colours(write):
    """Programs that number colours as they occur may give white the index 0."""
    indices = [[0, 1], [1, 1]]
    inverted = palette_image(indices, (255, 255, 255), (0, 0, 0))
    assert read_values(write(inverted)).tolist() == [[255, 0], [0, 0]]
    assert read_values(write(inverted, "a.gif")).tolist() == [[255, 0], [0, 0]]
    plain = palette_image(indices, (0, 0, 0), (255, 255, 255))
    assert read_values(write(plain)).tolist() == indices
    other = palette_image([[0, 1], [2, 1]], (255, 255, 255), (0, 0, 0), (5, 5, 5))
    assert read_values(write(other)).tolist() == [[0, 1], [2, 1]]


def test_what_is_refused(write, tmp_path):
    grey, colors = Image.fromarray(IDS), Image.fromarray(np.dstack([IDS, IDS, IDS * 2]))
    clear = Image.fromarray(np.dstack([IDS, IDS, IDS, IDS]))
    (tmp_path / "broken.png").write_bytes(b"no image")
    for path, message in (
        (write(grey, "a.jpg"), r"a\.jpg is compressed with loss \(JPEG\), which smears its values"),
        (write(grey, "b.tif", compression="jpeg"), r"b\.tif is compressed with loss \(TIFF\)"),
        (write(colors, "c.png"), r"c\.png is in colours\. Expected grey or a palette"),
        (write(clear, "d.png"), r"d\.png is partly transparent\. What that means, it does not"),
        (write(grey, "e.tif", save_all=True, append_images=[grey]), r"holds 2 pages\. Expected on"),
        (
            write(Image.fromarray(IDS * np.float32(0.5)), "f.tif"),
            r"f\.tif holds 0\.5\. Expected class ids",
        ),
        (
            write(Image.fromarray(IDS * np.float32(1e30)), "h.tif"),
            r"h\.tif holds 1\.0*\d*e\+30\. Expect",
        ),
        (write(Image.fromarray(IDS * np.float32("nan")), "i.tif"), r"i\.tif holds nan\. Expected"),
        (write(Image.new("CMYK", (2, 2)), "g.tif"), r"g\.tif has the mode CMYK\. Expected grey"),
        (tmp_path / "broken.png", r"broken\.png can't be read: cannot identify image file"),
        (tmp_path / "none.png", r"none\.png can't be read: .*No such file"),
    ):
        with pytest.raises(UserError, match=message):
            read_values(path)


def test_masks_of_one_class(write):
    for image in (Image.fromarray(np.array([[0, 1]], np.uint8)), Image.fromarray(IDS[:1, :2] * 255),
                  Image.fromarray(np.array([[False, True]]))):  # fmt: skip
        assert read_binary(write(image)).tolist() == [[False, True]]
    path = write(Image.fromarray(np.array([[0, 1, 255]], np.uint8)))
    with pytest.raises(UserError, match=r"holds the values 0, 1, 255\. Expected a mask of one"):
        read_binary(path)
    assert read_binary(path, any_value=True).tolist() == [[False, True, True]]


def test_colours_to_ids():
    colors = np.array([[[1, 2, 3], [0, 0, 0]], [[255, 255, 255], [1, 2, 3]]], np.uint8)
    ids = {(0, 0, 0): 0, (1, 2, 3): 7, (255, 255, 255): 255}
    assert colors_to_ids(colors, ids, "a.png").tolist() == [[7, 0], [255, 7]]
    with pytest.raises(UserError, match=r"a\.png holds \(1, 2, 3\), \(255, 255, 255\), which stan"):
        colors_to_ids(colors, {(0, 0, 0): 0}, "a.png")


def test_values_and_names(tmp_path):
    assert values_in(IDS) == values_in(IDS.astype(np.int64)) == [0, 1, 2]
    assert show_some(list(range(8))) == "0, 1, 2, 3, 4, 5 and 2 more"
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    assert by_stem(paths) == dict(zip("ab", paths, strict=True))
    with pytest.raises(UserError, match=r"a\.png and .*a\.jpg are two images of the same name"):
        by_stem([*paths, tmp_path / "a.jpg"])
