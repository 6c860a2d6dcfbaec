"""The one range of a set's images beyond 8 bits: found, said, and judged by."""

import numpy as np
import pytest
import tifffile
from PIL import Image

import voc_annotation
from errors import UserError
from utils.checking.brightness import Brightness, describe_values
from utils.checking.problems import PROBLEMS, format_brightness, format_report, report_to_dict
from utils.checking.report import check_samples
from utils.data.masks import mask_to_image
from utils.data.voc import Sample
from utils.images.reading import read_image
from voc_annotation import AnnotationConfig


def settle(arrays, value_range=()):
    """(Brightness, problems) of arrays, named a, b, c, ..."""
    brightness = Brightness(value_range)
    for name, array in zip("abcdefghijkl", arrays, strict=False):
        brightness.add(name, describe_values(np.asarray(array)))
    return brightness, list(brightness.settle())


def ramp(dtype, high, low=0, count=10_000):
    return np.linspace(low, high, count).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "high", "expected"),
    [
        ("float32", 1.0, (0, 1)),
        ("float64", 0.11, (0, 1)),
        ("float32", 255.0, (0, 255)),
        ("float16", 254.0, (0, 255)),
        ("float32", 4095.0, (0, 4095)),
        ("uint16", 255, (0, 255)),
        ("uint16", 4095, (0, 4095)),
        ("int16", 4000, (0, 4095)),
        ("int32", 16383, (0, 16383)),
        ("uint16", 65535, (0, 65535)),
        ("uint32", 40_000, (0, 65535)),
    ],
)
def test_the_smallest_usual_range_that_holds_the_set(dtype, high, expected):
    brightness, problems = settle([ramp(dtype, high)] * 3)
    assert (brightness.value_range, problems) == (expected, [])


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("int16", -1024, 3071),  # computed tomography
        ("float32", -2.5, 2.5),  # standardized
        ("float32", 0, 3.7),  # 0..255 would show 4 grey levels of it
        ("int16", 0, 300),
        ("float32", 0, 0.05),
        ("int32", 0, 10**6),
    ],
)
def test_where_no_usual_range_fits_the_numbers_tell(dtype, low, high):
    brightness, _ = settle([ramp(dtype, high, low, 20_000)] * 3)
    # Of evenly spaced numbers, one in 1,000 at either end lies outside.
    margin = 0.002 * (high - low) + 1e-4
    assert brightness.value_range == pytest.approx((low, high), abs=margin)
    assert "998 in 1,000 lie in this" in brightness.text


@pytest.mark.parametrize(
    ("dtype", "high", "odd", "expected"),
    [
        ("float32", 1.0, 1.02, (0, 1)),
        ("int16", 255, 256, (0, 255)),
        ("uint16", 4095, 60_000, (0, 4095)),
    ],
)
def test_single_pixels_decide_nothing(dtype, high, odd, expected):
    """A pixel of each third image of 12, beyond the range of all the others."""
    arrays = [ramp(dtype, high, count=64 * 64) for _ in range(12)]
    for array in arrays[::3]:
        array[7] = odd
    brightness, problems = settle(arrays)
    assert (brightness.value_range, problems) == (expected, [])
    assert brightness.text == (
        f"brightness: {dtype} (12), 0 to {odd:g}; read as 0..{high:g} (black to white), but for 4 "
        "values in 4 of 12 images, which are beyond. To choose another: value_range."
    )


def test_more_than_a_vanishing_share_decides():
    array = ramp("float32", 1.0)
    array[:10] = 200  # one in 1,000
    assert settle([array])[0].value_range == (0, 1)
    array[:11] = 200
    assert settle([array])[0].value_range != (0, 1)


def test_what_is_given_stays():
    arrays = [ramp("uint16", 65535)]
    for given in [(0.0, 4095.0), "percentiles"]:
        assert settle(arrays, given)[0].value_range == given
    assert settle(arrays, (0.0, 4095.0))[0].text == (
        "brightness: uint16 (1), 0 to 65535; read as 0..4095 (black to white), as value_range says."
    )
    assert "percentile of each image" in settle(arrays, "percentiles")[0].text
    assert "each image by its own largest number" in settle(arrays, None)[0].text
    assert settle(arrays, None)[0].value_range is None


def test_without_such_images_there_is_nothing_to_say():
    assert (settle([])[0].value_range, settle([])[0].text) == (None, "")
    assert settle([], (0.0, 4095.0))[0].value_range == (0.0, 4095.0)


def test_floats_and_integers_that_no_range_holds():
    mixed = [ramp("float32", 1.0), ramp("uint16", 4095)]
    _, problems = settle(mixed)
    text = "1 of uint16, such as b, in 0..4095; 1 of float32, such as a, in 0..1"
    assert problems[0] == ("values_mixed", text)
    assert PROBLEMS["values_mixed"].fatal
    # Given what to read them in, it is the user's word.
    assert "values_mixed" not in [kind for kind, _ in settle(mixed, (0.0, 4095.0))[1]]
    assert settle([ramp("float32", 200.0), ramp("int32", 255)])[1] == []


def test_dim_images_are_named():
    _, problems = settle([ramp("uint16", 65535), ramp("uint16", 4095)])
    assert problems == [("values_dim", "b: 20 to 4074, read as 0..65535")]
    assert settle([ramp("uint16", 65535), np.full(99, 700, np.uint16)])[1] == []  # all alike


def test_images_beyond_the_range_are_named():
    _, problems = settle([ramp("uint16", 4095), ramp("uint16", 65535)], (0.0, 4095.0))
    assert [(kind, text[:3]) for kind, text in problems] == [("values_beyond", "b: ")]
    assert settle([np.r_[ramp("uint16", 4095), [65535] * 90]], (0.0, 4095.0))[1] == []


def test_numbers_that_are_none_are_named():
    array = ramp("float32", 1.0)
    array[:5] = np.nan, np.inf, -np.inf, np.nan, np.nan
    brightness, problems = settle([array])
    assert problems == [("values_not_finite", "a: 5 values")]
    assert brightness.value_range == (0, 1)
    assert settle([np.full(9, np.nan, np.float32)])[0].value_range == (0, 1)


def test_counts_are_those_of_numpy(rng):
    values = rng.normal(100, 300, (50, 70, 3)).astype(np.float32)
    facts = describe_values(values)
    assert (facts["dtype"], facts["count"]) == ("float32", values.size)
    assert facts["below"] == (values < 0).sum()
    assert facts["above"] == [(values > edge).sum() for edge in (1, 255, 4095, 16383, 65535)]
    assert facts["quantiles"][0] == values.min()
    assert facts["quantiles"][6] == pytest.approx(np.median(values), abs=1e-3)
    assert describe_values(values.astype(">f4")) == facts


# In a VOC folder

IDS = np.zeros((40, 50), np.uint8)
IDS[10:30, 10:25] = 1
NAMES = ("a", "b", "c", "d")


@pytest.fixture
def write_set(tmp_path):
    """write_set(images): a VOC folder of TIFF files with masks of two classes."""

    def write(images):
        base = tmp_path / "VOC2007"
        for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        for name, image in zip(NAMES, images, strict=True):
            path = base / "JPEGImages" / f"{name}.tif"
            tifffile.imwrite(path, image, photometric="minisblack")
            mask_to_image(IDS).save(base / "SegmentationClass" / f"{name}.png")
        return tmp_path

    return write


def twelve_bits(seed):
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 1000, IDS.shape) + 3000 * (IDS == 1)).astype(np.uint16)


def samples_of(base):
    images, masks = (base / "VOC2007" / one for one in ("JPEGImages", "SegmentationClass"))
    return [Sample(name, images / f"{name}.tif", masks / f"{name}.png") for name in NAMES]


def test_the_check_says_and_keeps_what_it_finds(write_set, capsys):
    base = write_set(map(twelve_bits, range(4)))
    assert voc_annotation.main(AnnotationConfig(str(base), num_workers=1)) == 0
    said = capsys.readouterr().out
    assert "uint16 (4), 0 to 3999; read as 0..4095 (black to white). To choose another" in said
    report = (base / "VOC2007" / "ImageSets" / "Segmentation" / "check_report.json").read_text()
    assert '"value_range": [' in report


def test_images_that_were_all_black_are_no_copies_of_each_other(write_set, capsys):
    """Scaled from 0..65535, these are all 0 but differ."""
    rng = np.random.default_rng(3)
    base = write_set([rng.integers(0, 100, IDS.shape).astype(np.uint16) for _ in NAMES])
    assert voc_annotation.main(AnnotationConfig(str(base), num_workers=1)) == 0
    assert PROBLEMS["in_both_lists"].title not in capsys.readouterr().out


def test_the_quick_check_finds_the_same_and_keeps_it(write_set, tmp_path, monkeypatch):
    base = write_set(map(twelve_bits, range(4)))
    samples = samples_of(base)
    options = {"cache": tmp_path / "cache.json", "workers": 1, "progress": False}
    report = check_samples(samples[:3], samples[3:], 2, (255,), **options)
    assert report.brightness.value_range == (0, 4095)
    monkeypatch.setattr("utils.checking.scan.read_numbers", lambda *_: pytest.fail("read again"))
    again = check_samples(samples[:3], samples[3:], 2, (255,), **options)
    assert again.brightness.text == report.brightness.text != ""


def test_a_cache_of_an_earlier_version_is_not_trusted(write_set, tmp_path):
    samples = samples_of(write_set(map(twelve_bits, range(4))))
    cache = tmp_path / "cache.json"
    options = {"cache": cache, "workers": 1, "progress": False}
    check_samples(samples[:3], samples[3:], 2, (255,), **options)
    cache.write_text(cache.read_text().replace('"values"', '"other"'))
    report = check_samples(samples[:3], samples[3:], 2, (255,), **options)
    assert report.brightness.value_range == (0, 4095)


def test_the_quick_check_decodes_no_image_of_8_bits(voc_dir, monkeypatch):
    from utils.data.voc import read_samples

    for reader in ("read_numbers", "read_image"):
        monkeypatch.setattr(f"utils.checking.scan.{reader}", lambda *_, **__: pytest.fail("read"))
    report = check_samples(
        read_samples(voc_dir, "train"), read_samples(voc_dir, "val"), 3, (255,), workers=1
    )
    assert (report.brightness.value_range, report.brightness.text) == (None, "")
    assert format_brightness(report) == ""


def test_one_set_one_scale(write_set):
    """The same numbers are the same brightness in all images, whatever else an image holds."""
    images = [np.full(IDS.shape, 0.46, np.float32) for _ in NAMES]
    for image in images:
        image[IDS == 1] = 1
    images[1][0, 0] = 1.02
    samples = samples_of(write_set(images))
    report = check_samples(samples[:3], samples[3:], 2, (255,), workers=1, progress=False)
    found = report.brightness.value_range
    for sample in samples:
        pixels = read_image(sample.image_path, value_range=found)
        assert pixels[20, 40].tolist() == [117] * 3  # 0.46 x 255 = 117.3
        assert pixels[20, 20].tolist() == [255] * 3


def test_mixed_kinds_stop_a_training(write_set):
    images = [np.float32(twelve_bits(0)) / 4095, *map(twelve_bits, range(3))]
    samples = samples_of(write_set(images))
    with pytest.raises(UserError, match="1 of float32, such as") as caught:
        check_samples(samples[:3], samples[3:], 2, (255,), workers=1, progress=False)
    assert PROBLEMS["values_mixed"].title in str(caught.value)


def test_notes_on_files(write_set, tmp_path):
    grey = (twelve_bits(0) // 257).astype(np.uint8)
    base = write_set([grey, np.stack([grey, grey, 255 - grey]), grey, grey])
    folder = base / "VOC2007" / "JPEGImages"
    tifffile.imwrite(folder / "c.tif", grey, photometric="miniswhite")
    Image.fromarray(grey).save(
        folder / "d.tif", save_all=True, append_images=[Image.fromarray(grey[:20])]
    )
    samples = samples_of(base)
    report = check_samples(samples[:3], samples[3:], 2, (255,), workers=1, progress=False)
    named = {"picture_pages": "b.tif", "picture_inverted": "c.tif", "picture_more": "d.tif"}
    for kind, name in named.items():
        assert report.problems[kind].first == [str(folder / name)]
    assert PROBLEMS["picture_more"].title in format_brightness(report)
    assert PROBLEMS["picture_pages"].title in format_report(report)
    assert report_to_dict(report)["value_range"] is None
