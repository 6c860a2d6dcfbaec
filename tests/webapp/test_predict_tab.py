"""The tab "Predict" in a browser: images go up, results come down."""

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from browser import NARROW, WIDE, turn, type_in
from PIL import Image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Paths of an RGB image, a TIFF of 16 bits, and a file that is no image."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = [folder / name for name in ("street.png", "deep.tif", "broken.png")]
    Image.fromarray(rng.integers(0, 256, (60, 90, 3), np.uint8)).save(paths[0])
    tifffile.imwrite(paths[1], rng.integers(0, 65536, (64, 48), np.uint16))
    paths[2].write_bytes(b"no image")
    return paths


def predict(page, *paths):
    """Sends images and waits until the first is shown; returns what the message says."""
    page.locator("#about_weights", has_text="3 classes").wait_for()
    page.locator("#images input[type=file]").set_input_files(list(paths))
    page.locator("#images", has_text=Path(paths[-1]).stem).wait_for()
    page.locator("#predict").click()
    page.locator("#shares table").wait_for()
    shown(page)
    return page.locator("#predict_message").inner_text()


def shown(page, former=""):
    """(image, drawing) of the slider, uint8 (H, W, 3), once the drawing is not `former`."""
    pictures = page.locator("#slider img")
    page.wait_for_function(
        "former => { const all = [...document.querySelectorAll('#slider img')];"
        " return all.length == 2 && all.every(one => one.complete && one.naturalWidth)"
        " && !all.some(one => former && one.src == former); }",
        arg=former,
    )
    sources = [pictures.nth(index).get_attribute("src") for index in range(2)]
    drawn = next(one for one in sources if "drawn_" in one)
    image = next(one for one in sources if "image_" in one)
    return (
        fetch(page, image),
        fetch(page, drawn),
        page.evaluate("url => new URL(url, location).href", drawn),
    )


def absolute(page, url):
    return page.evaluate("url => new URL(url, location).href", url)


def fetch(page, url):
    answer = page.request.get(absolute(page, url))
    return np.asarray(Image.open(io.BytesIO(answer.body())))


def download(page, link):
    with page.expect_download() as found:
        link.click()
    return found.value.suggested_filename, Path(found.value.path()).read_bytes()


def test_an_image_is_segmented_looked_at_and_taken_home(visit, images):
    opened = visit(WIDE)
    page = opened.page
    assert predict(page, images[0]) == ""
    image, drawn, source = shown(page)
    np.testing.assert_array_equal(image, np.asarray(Image.open(images[0])))
    assert (image != drawn).any()
    assert page.locator("#shares tbody tr").count() >= 2
    assert opened.overflow() <= 0

    number = page.locator("#opacity input[type=number]")
    type_in((number, "0"), key="Tab")
    image, drawn, source = shown(page, source)
    np.testing.assert_array_equal(image, drawn)
    turn(page.locator("#outlines input[type=checkbox]"), True)
    image, drawn, source = shown(page, source)
    assert 0 < (image != drawn).any(axis=-1).mean() < 1

    page.locator("#make_files").click()
    links = page.locator("#files a[download]")
    links.first.wait_for()
    files = dict(download(page, links.nth(index)) for index in range(links.count()))
    assert set(files) == {
        "street_mask.png", "street_overlay.png", "street_regions.csv", "street.json",
        "street_confidence.png",
    }  # fmt: skip
    mask = np.asarray(Image.open(io.BytesIO(files["street_mask.png"])))
    assert mask.shape == (60, 90)
    assert set(np.unique(mask)) <= {0, 1, 2}
    overlay = np.asarray(Image.open(io.BytesIO(files["street_overlay.png"])))
    np.testing.assert_array_equal(overlay, drawn)
    assert files["street_regions.csv"].decode("utf-8-sig").startswith("picture,class_id,class")
    assert json.loads(files["street.json"])["imagePath"] == "street.png"


def test_many_images_one_of_them_broken(visit, images):
    opened = visit(NARROW)
    page = opened.page
    message = predict(page, *images)
    assert "broken.png" in message
    assert "Error" not in message and "Traceback" not in message
    assert "/tmp" not in message
    assert opened.overflow() <= 0
    source = shown(page)[2]
    page.locator("#image input").click()
    page.get_by_role("option", name="deep.tif").click()
    image, _, _ = shown(page, source)
    assert image.shape == (64, 48, 3)
    page.locator("#make_files").click()
    link = page.locator("#files a[download]").first
    link.wait_for()
    name, content = download(page, link)
    assert name == "predictions.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {"street_mask.png", "deep_overlay.png", "labelme/deep.json"} <= set(
            archive.namelist()
        )


def test_a_broken_file_alone_is_one_sentence(visit, images):
    page = visit(WIDE).page
    page.locator("#about_weights", has_text="3 classes").wait_for()
    page.locator("#images input[type=file]").set_input_files(images[2])
    page.locator("#images", has_text="broken").wait_for()
    page.locator("#predict").click()
    alert = page.locator("#predict_message [role=alert]")
    alert.wait_for()
    assert alert.locator("p").count() == 1
    assert "broken.png" in alert.inner_text()
    assert not page.locator("#slider").is_visible()
    assert page.get_by_text("Error", exact=True).count() == 0


def test_many_images_can_be_stopped(visit, tmp_path, rng):
    paths = []
    for number in range(200):
        paths.append(tmp_path / f"image_{number:03}.png")
        Image.fromarray(rng.integers(0, 256, (240, 320, 3), np.uint8)).save(paths[-1])
    page = visit(WIDE).page
    assert page.locator("#predict_stop").is_disabled()
    page.locator("#about_weights", has_text="3 classes").wait_for()
    page.locator("#images input[type=file]").set_input_files(paths)
    page.locator("#images", has_text="image_199").wait_for()
    page.locator("#predict").click()
    page.locator("#predict_stop:enabled").click()
    message = page.locator("#predict_message", has_text="Stopped: ")
    message.wait_for()
    assert 0 < int(re.search(r"Stopped: (\d+) of 200", message.inner_text())[1]) < 200
    page.locator("#shares table").wait_for()
    page.locator("#predict_stop:disabled").wait_for()


def test_a_colour_and_a_switch(visit, images):
    page = visit(WIDE).page
    predict(page, images[0])
    number = page.locator("#opacity input[type=number]")
    source = shown(page)[2]
    type_in((number, "100"), key="Tab")
    _, drawn, source = shown(page, source)
    assert (drawn == (128, 0, 0)).all(axis=-1).any()  # VOC's colour of class 1
    page.get_by_role("button", name="Classes and colours").click()
    switches = page.locator("#classes input[type=checkbox]")
    switches.nth(1).wait_for()
    assert switches.count() == 2
    turn(switches.first, False)
    image, drawn, source = shown(page, source)
    changed = (image != drawn).any(axis=-1)
    assert (drawn[changed] == (0, 128, 0)).all()  # only class 2 is left


def test_two_at_once_see_their_own(visit, images):
    first, second = visit(WIDE), visit(WIDE)
    predict(first.page, images[0])
    predict(second.page, images[1])
    assert shown(first.page)[0].shape == (60, 90, 3)
    assert shown(second.page)[0].shape == (64, 48, 3)
    url = shown(first.page)[2]
    assert second.page.request.get(url).ok  # whoever is told the address: it can't be guessed
    folder = url.split("/shown/")[0]
    assert second.page.request.get(folder).status == 403
    first.page.goto("about:blank")
    while second.page.request.get(url).ok:  # or the test runs out of time
        second.page.wait_for_timeout(200)
    assert shown(second.page)[0].shape == (64, 48, 3)
