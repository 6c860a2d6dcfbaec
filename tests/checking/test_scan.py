"""Facts of an image and its mask, anti-aliased edges, and the cache of facts."""

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from utils.checking import scan
from utils.checking.content import MaskSummary, edge_values
from utils.checking.scan import Facts, FactsCache, scan_pair
from utils.data.voc import Sample


@pytest.fixture
def sample(tmp_path, write_mask, write_image):
    """An image of 3 x 4 pixels and its mask with the values 0, 1, 2 and 255."""
    image = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    mask = np.array([[0, 0, 1, 2], [0, 0, 1, 2], [0, 255, 255, 2]], np.uint8)
    return Sample(
        "one",
        write_image(tmp_path / "one.png", image),
        write_mask(tmp_path / "one_mask.png", mask),
    )


def drawn(draw, size=(40, 60), scale=4):
    """A grey mask with soft edges: drawn larger, then shrunk."""
    image = Image.new("L", (size[1] * scale, size[0] * scale))
    draw(ImageDraw.Draw(image), scale)
    return np.array(image.resize(size[::-1], Image.Resampling.BOX))


def disc(pen, scale):
    pen.ellipse([10 * scale, 8 * scale, 41 * scale, 33 * scale], fill=255)


# Facts


def test_facts_of_a_sound_pair(sample):
    facts = scan_pair(sample)
    assert (facts.image_error, facts.mask_error, facts.mask_detail) == ("", "", "")
    assert facts.image_size == facts.mask_size == (3, 4)
    assert facts.image_mode == "RGB"
    assert facts.image_bytes != 0 != facts.image_pixels
    assert facts.mask.counts == {0: 5, 1: 2, 2: 3, 255: 2}
    assert all(type(key) is type(value) is int for key, value in facts.mask.counts.items())
    assert facts.mask.smooth == ()


def test_without_decoding_the_image_stays_unread(sample):
    # The header says the size; what comes after it is gone.
    Image.open(sample.image_path).save(sample.image_path, "BMP")
    sample.image_path.write_bytes(sample.image_path.read_bytes()[:60])
    facts = scan_pair(sample, decode=False)
    assert facts.image_error == ""
    assert facts.image_size == (3, 4)
    assert (facts.image_mode, facts.image_bytes, facts.image_pixels) == ("", 0, 0)
    assert facts.mask.counts == {0: 5, 1: 2, 2: 3, 255: 2}
    assert f"The image {sample.image_path} can't be read" in scan_pair(sample).image_error


def test_a_missing_or_broken_image(sample):
    sample.image_path.write_bytes(b"no image")
    for decode in (True, False):
        facts = scan_pair(sample, decode)
        assert facts.image_error.startswith(f"The image {sample.image_path} can't be read")
        assert facts.image_size is None
    sample.image_path.unlink()
    assert scan_pair(sample).image_error == f"There is no file {sample.image_path}."


def test_sizes_are_upright(sample):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 3)).save(sample.image_path, exif=exif)
    for decode in (True, False):
        assert scan_pair(sample, decode).image_size == (4, 3)


def test_hashes_tell_files_and_pixels_apart(sample, tmp_path):
    one = scan_pair(sample)
    again = scan_pair(sample._replace(image_path=sample.image_path.rename(tmp_path / "b.png")))
    assert (again.image_bytes, again.image_pixels) == (one.image_bytes, one.image_pixels)

    image = Image.open(tmp_path / "b.png")
    image.save(sample.image_path, "BMP")
    other_file = scan_pair(sample)
    assert other_file.image_bytes != one.image_bytes
    assert other_file.image_pixels == one.image_pixels

    # The same bytes of pixels in another shape are another image.
    Image.fromarray(np.array(image).reshape(4, 3, 3)).save(sample.image_path)
    assert scan_pair(sample).image_pixels != one.image_pixels


@pytest.mark.parametrize(
    ("image", "kind", "error", "counts"),
    [
        (Image.new("RGB", (4, 3), (1, 2, 3)), "PNG", "colour", {0x010203: 12}),
        (Image.new("RGBA", (4, 3), (1, 2, 3, 255)), "PNG", "alpha", {0x010203: 12}),
        (Image.new("RGBA", (4, 3)), "PNG", "alpha", {}),  # transparent
        (Image.new("LA", (4, 3)), "PNG", "alpha", {}),
        (Image.new("I;16", (4, 3), 300), "PNG", "16-bit", {300: 12}),
        (Image.new("L", (4, 3)), "JPEG", "lossy", None),
        (Image.new("L", (4, 3)), "BMP", "format", {0: 12}),
        (Image.new("L", (4, 3)), "PNG", "", {0: 12}),
        (Image.new("1", (4, 3)), "PNG", "", {0: 12}),
    ],
)
def test_kinds_of_masks(sample, image, kind, error, counts):
    image.save(sample.mask_path, kind)
    facts = scan_pair(sample)
    assert facts.mask_error == error
    assert facts.mask_size == (3, 4)
    assert (facts.mask and facts.mask.counts) == counts


@pytest.mark.parametrize("keep", [0, 10, 40])
def test_broken_masks(sample, keep):
    sample.mask_path.write_bytes(sample.mask_path.read_bytes()[:keep])
    facts = scan_pair(sample)
    assert facts.mask_error == "broken"
    assert facts.mask_detail
    assert facts.mask is None


def test_a_missing_mask_is_broken(sample):
    sample.mask_path.unlink()
    assert scan_pair(sample).mask_error == "broken"


# Anti-aliased edges


def test_soft_edges_of_a_grey_mask(sample):
    ids = drawn(disc)
    Image.fromarray(ids).save(sample.mask_path)
    facts = scan_pair(sample)
    assert facts.mask.smooth == tuple(sorted(set(np.unique(ids).tolist()) - {0, 255}))
    assert len(facts.mask.smooth) > 4
    assert sum(facts.mask.counts.values()) == ids.size  # all values, the soft ones too


def test_a_palette_mask_is_never_smooth(sample, write_mask):
    write_mask(sample.mask_path, drawn(disc))
    assert scan_pair(sample).mask.smooth == ()


@pytest.mark.parametrize("inside", [255, 40])
def test_soft_edges_between_two_areas(inside):
    ids = drawn(
        lambda pen, scale: pen.ellipse([5 * scale, 5 * scale, 50 * scale, 35 * scale], fill=inside)
    )
    found = edge_values(ids)[0]
    assert set(found) == set(np.unique(ids).tolist()) - {0, inside}


def thin_lines(values, width=1):
    ids = np.zeros((60, 60), np.uint8)
    for index, value in enumerate(values):
        ids[4 * index + 2 : 4 * index + 2 + width] = value
    return ids


def grid_of_dots():
    ids = np.zeros((40, 40), np.uint8)
    ids[2::4, 2::4] = np.arange(1, 101).reshape(10, 10)
    return ids


@pytest.mark.parametrize(
    "ids",
    [
        thin_lines(range(1, 12)),
        thin_lines(range(1, 12), width=2),
        thin_lines(range(20, 0, -2)),
        grid_of_dots(),
        np.repeat(np.arange(30, dtype=np.uint8), 3)[None].repeat(9, axis=0),
        np.zeros((5, 5), np.uint8),
        np.array([[0, 128, 255]], np.uint8),
    ],
    ids=["lines", "pairs of lines", "falling", "dots", "stripes", "empty", "few"],
)
def test_thin_objects_are_not_taken_for_soft_edges(ids):
    assert edge_values(ids)[0] == ()


@pytest.mark.parametrize(("between", "found"), [(3, ()), (4, (50, 51, 52, 53))])
def test_few_values_between_are_thin_objects(between, found):
    ids = np.zeros((20, 9), np.uint8)
    ids[:, 5:] = 255
    ids[:, 4] = 50 + np.arange(20) % between
    assert edge_values(ids)[0] == found
    assert edge_values(ids, least=3)[0] == tuple(range(50, 50 + between))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), st.integers(2, 256))
def test_smooth_values_are_present_and_between_others(height, width, seed, bound):
    ids = np.random.default_rng(seed).integers(0, bound, (height, width)).astype(np.uint8)
    found = edge_values(ids)[0]
    present = np.unique(ids).tolist()
    assert set(found) <= set(present) - {present[0], present[-1]}
    assert list(found) == sorted(found)
    assert len(found) == 0 or len(found) >= 4


# Cache


@pytest.fixture
def scans(monkeypatch):
    """The samples that were really read."""
    found = []

    def counted(sample, decode=True):
        found.append(sample.name)
        assert not decode
        return scan_pair(sample, decode)

    monkeypatch.setattr(scan, "scan_pair", counted)
    return found


def scan_with(path, sample):
    cache = FactsCache(path)
    facts = cache.scan(sample)
    cache.save()
    return facts


def test_facts_are_kept_whole(sample, tmp_path, scans):
    Image.fromarray(drawn(disc)).save(sample.mask_path)
    first = scan_with(tmp_path / "cache.json", sample)
    assert len(first.mask.smooth) > 3
    second = scan_with(tmp_path / "cache.json", sample)
    assert scans == ["one"]
    assert second == first
    assert type(second.mask.smooth) is type(second.mask_size) is type(second.image_size) is tuple


def test_facts_of_broken_files_are_kept_too(sample, tmp_path, scans):
    sample.image_path.write_bytes(b"no image")
    sample.mask_path.write_bytes(b"no mask")
    first = scan_with(tmp_path / "cache.json", sample)
    assert scan_with(tmp_path / "cache.json", sample) == first
    assert scans == ["one"]
    assert first.image_error
    assert first.mask_error == "broken"


@pytest.mark.parametrize("file", ["image_path", "mask_path"])
def test_a_file_of_another_time_is_read_again(sample, tmp_path, scans, file):
    scan_with(tmp_path / "cache.json", sample)
    stat = getattr(sample, file).stat()
    os.utime(getattr(sample, file), ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    scan_with(tmp_path / "cache.json", sample)
    assert scans == ["one", "one"]


@pytest.mark.parametrize("file", ["image_path", "mask_path"])
def test_a_file_of_another_size_is_read_again(sample, tmp_path, scans, file):
    scan_with(tmp_path / "cache.json", sample)
    path = getattr(sample, file)
    stat = path.stat()
    path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    scan_with(tmp_path / "cache.json", sample)
    assert scans == ["one", "one"]


def test_a_new_mask_gives_new_facts(sample, tmp_path, write_mask):
    assert scan_with(tmp_path / "cache.json", sample).mask.counts[0] == 5
    write_mask(sample.mask_path, np.full((3, 4), 7, np.uint8))
    os.utime(sample.mask_path, (1, 1))
    assert scan_with(tmp_path / "cache.json", sample).mask.counts == {7: 12}


def test_entries_of_other_files_stay(sample, tmp_path, scans, write_mask):
    other = sample._replace(
        name="two", mask_path=write_mask(tmp_path / "two.png", np.zeros((3, 4), np.uint8))
    )
    scan_with(tmp_path / "cache.json", sample)
    scan_with(tmp_path / "cache.json", other)
    scan_with(tmp_path / "cache.json", sample)
    assert scans == ["one", "two"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[1, 2]",
        lambda text: "null",
        lambda text: text.replace('"facts"', '"fact"'),
        lambda text: text.replace('"counts"', '"histogram"'),
        lambda text: text.replace('"counts": {', '"counts": {"many": 1, '),
        lambda text: json.dumps(dict.fromkeys(json.loads(text), "damaged")),
        lambda text: json.dumps(dict.fromkeys(json.loads(text))),
        lambda text: json.dumps(
            {key: entry | {"facts": []} for key, entry in json.loads(text).items()}
        ),
    ],
)
def test_a_damaged_cache_is_written_anew(sample, tmp_path, scans, damage):
    path = tmp_path / "cache.json"
    facts = scan_with(path, sample)
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    assert scan_with(path, sample) == facts
    assert scan_with(path, sample) == facts
    assert scans == ["one", "one"]


def test_a_cache_of_other_bytes_is_no_error(sample, tmp_path):
    (tmp_path / "cache.json").write_bytes(b"\xff\xfe\x00")
    assert scan_with(tmp_path / "cache.json", sample).mask.counts[1] == 2


def test_a_folder_that_can_not_be_written_is_no_error(sample, tmp_path, monkeypatch):
    cache = FactsCache(tmp_path / "cache.json")
    cache.scan(sample)

    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(os, "replace", refuse)
    before = sorted(tmp_path.iterdir())
    cache.save()
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_is_read_only_is_no_error(sample, tmp_path, monkeypatch):
    cache = FactsCache(tmp_path / "cache.json")
    cache.scan(sample)

    def refuse(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr("pathlib.Path.write_text", refuse)
    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    cache.save()
    assert not (tmp_path / "cache.json").exists()


def test_no_cache_and_a_missing_folder_write_nothing(sample, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    for path in (None, tmp_path / "nowhere" / "cache.json"):
        assert scan_with(path, sample).mask.counts[1] == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_files_that_vanish_are_not_kept(sample, tmp_path, scans):
    sample.mask_path.unlink()
    for _ in range(2):
        assert scan_with(tmp_path / "cache.json", sample).mask_error == "broken"
    assert scans == ["one", "one"]


def test_facts_start_empty():
    assert Facts() == Facts(mask=None, mask_error="", image_error="")
    assert MaskSummary().counts is not MaskSummary().counts
