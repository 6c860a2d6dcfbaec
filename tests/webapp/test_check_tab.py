"""The tab "Check": the script's report with the files that it names, and the corrected copy."""

import base64
import hashlib
import io
import re
import shutil
import threading
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import NARROW, WIDE, type_in
from PIL import Image

import voc_annotation
from errors import UserError
from utils.checking.report import Report
from utils.data.masks import read_label_ids
from utils.labels import voc_palette
from utils.messages import note, say
from voc_annotation import AnnotationConfig

pytest.importorskip("gradio", reason="Gradio is not installed")

from webapp.check_fix import _heard
from webapp.check_folder import find_datasets, open_dataset
from webapp.check_html import clean
from webapp.check_tab import Work
from webapp.check_thumbs import FileIndex, choose_files
from webapp.served import Served
from webapp.setting_fields import SettingFields

HOSTILE = "<img src=x onerror=alert(1)>${1+1}{{value}}`"  # to HTML, and to Gradio's templates
SETTINGS = {
    "num_classes": "",
    "ignore_labels": "",
    "palette": "auto",
    "color_map": "",
    "instances": "",
    "instance_border": False,
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def served(here):
    return Served((Path("VOCdevkit"),), 10**7)


@pytest.fixture
def work(served):
    return Work(served, SettingFields(AnnotationConfig))


@pytest.fixture
def voc(here, make_voc):
    """Path of VOC2007, of which one mask has 16 bits."""
    folder = make_voc(here / "VOCdevkit") / "VOC2007"
    path = folder / "SegmentationClass" / "val_a.png"
    Image.fromarray(read_label_ids(path).astype(np.uint16)).save(path)
    return folder


def check(work, folder="VOCdevkit", **given):
    """The report as HTML, or the message."""
    values = SETTINGS | given
    message, html, *_ = work.check(folder, *(values[name] for name in list(SETTINGS)[:3]))
    return message or html


def preview(work, folder="VOCdevkit", **given):
    """(what would change as HTML, or the message; the button, the settings to write with)."""
    message, html, button, config, *_ = work.preview(folder, *(SETTINGS | given).values())
    return message or html, button, config


def text_of(html):
    """What a reader sees."""
    return unescape(re.sub(r"<[^>]*>", " ", html))


class Figures(HTMLParser):
    """{caption of a figure: pixels of its image, or None}."""

    def __init__(self, html):
        super().__init__()
        self.found, self._uri, self._inside = {}, "", False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self._uri = dict(attributes)["src"]
        self._inside = tag == "figcaption"

    def handle_data(self, data):
        if self._inside:
            self.found[data] = _pixels(self._uri)
            self._uri, self._inside = "", False


def _pixels(uri):
    if not uri:
        return None
    data = base64.b64decode(uri.partition("base64,")[2])
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def hashes(folder):
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


# The report


def test_it_says_what_the_script_says_and_writes_nothing(work, voc, capsys):
    before = hashes(voc)
    html = check(work)
    assert hashes(voc) == before
    config = AnnotationConfig(VOCdevkit_path="VOCdevkit", check_only=True)
    assert voc_annotation.main(config) == 2
    printed = capsys.readouterr().out.split("The first masks as they are")[0]
    assert unescape(re.search("<pre>(.*)</pre>", html, re.DOTALL)[1]) == printed.rstrip("\n")


def test_a_problem_is_shown_with_its_files(work, voc):
    html = check(work)
    card = re.search('<section class="card fatal">.*?</section>', html, re.DOTALL)[0]
    assert "masks with 16-bit values: 1" in text_of(card)
    assert "What to do:  python voc_annotation.py --fix" in text_of(card)
    figures = Figures(card).found
    assert list(figures) == ["JPEGImages/val_a.jpg", "SegmentationClass/val_a.png"]
    mask = figures["SegmentationClass/val_a.png"]
    assert {tuple(color) for color in mask.reshape(-1, 3).tolist()} == {
        *map(tuple, voc_palette(3).tolist()),
        (255, 255, 255),  # void
    }


def test_a_clean_set_has_no_problems(work, here, make_voc):
    make_voc(here / "VOCdevkit")
    text = text_of(check(work))
    assert "Nothing would make a training wrong." in text
    assert "6 pairs of image and mask" in text


def test_notes_and_problems_are_counted_apart(work, voc):
    (voc / "SegmentationClass" / "train_a.png").unlink()
    text = text_of(check(work, num_classes="5"))
    assert "2 kinds of problems would make a training wrong. 2 notes besides." in text


def test_a_file_that_can_not_be_shown_is_named(work, voc):
    (voc / "JPEGImages" / "train_a.jpg").write_bytes(b"no image")
    figures = Figures(check(work)).found
    assert (
        figures["JPEGImages/train_a.jpg"] is None
        if ("JPEGImages/train_a.jpg" in figures)
        else figures["JPEGImages/train_a.jpg: can't be read"] is None
    )


def test_names_of_files_are_text(work, voc):
    for part, end in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        (voc / part / f"val_a.{end}").rename(voc / part / f"{HOSTILE}.{end}")
    html = check(work) + preview(work)[0]
    assert clean(f"JPEGImages/{HOSTILE}.jpg") in html
    assert "<img src=x" not in html


def test_settings_count(work, voc):
    assert "void" not in text_of(check(work, ignore_labels="()")).split("pixels")[2]
    assert "with num_classes" not in check(work, num_classes="2")
    assert "ids that num_classes does not cover" in text_of(check(work, num_classes="2"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ignore_labels": "a"}, "ignore_labels must be int"),
        ({"ignore_labels": "300"}, "ignore_labels must be 0 to 255; got 300."),
        ({"num_classes": "1"}, "num_classes"),
    ],
)
def test_a_wrong_setting_is_a_sentence(work, voc, given, said):
    for html in (check(work, **given), preview(work, **given)[0]):
        assert 'role="alert"' in html
        assert said in text_of(html)


@pytest.mark.parametrize("path", ["/etc/passwd", "VOCdevkit/../colors.txt"])
def test_a_colour_map_of_another_folder_is_not_read(work, voc, here, path):
    (here / "colors.txt").write_text("0 0 0 background\n", encoding="utf-8")
    assert "lies outside the folders" in text_of(preview(work, color_map=path)[0])


def test_a_colour_map_names_the_classes(work, voc):
    colors = "\n".join(f"{r} {g} {b} class{i}" for i, (r, g, b) in enumerate(voc_palette(3)))
    voc.with_name("colors.txt").write_text(colors, encoding="utf-8")
    _, _, config = preview(work, color_map="VOCdevkit/colors.txt")
    work.apply(config)
    classes = voc.with_name("VOC2007_fixed") / "classes.txt"
    assert classes.read_text("utf-8").split() == ["class0", "class1", "class2"]


# Files that texts name


@pytest.fixture
def index(voc):
    samples, almost, _ = voc_annotation.find_set(AnnotationConfig(VOCdevkit_path=str(voc)))
    return FileIndex(voc, samples + almost)


@pytest.mark.parametrize(
    "text",
    [
        "{voc}/SegmentationClass/val_a.png",
        "val_a.png (7 values along edges)",
        "value 3: 8 pixels, for instance in {voc}/SegmentationClass/val_a.png, {voc}/x.png",
        "The image {voc}/JPEGImages/val_a.jpg can't be read: it is no .jpg.",
    ],
)
def test_a_named_file_comes_with_its_other_half(index, voc, text):
    assert index.find(text.format(voc=voc)) == [
        [voc / "JPEGImages" / "val_a.jpg", voc / "SegmentationClass" / "val_a.png"]
    ]


def test_the_longest_name_is_meant(voc):
    for name in ("a.png", "aa.png", "b aa.png", "aa.png.png"):
        (voc / "JPEGImages" / name).touch()
    found = FileIndex(voc, []).find("b aa.png and aa.png.png")
    assert [group[0].name for group in found] == ["b aa.png", "aa.png.png"]


def test_twins_of_two_lists(index):
    found = index.find("val_a (val) is train_b (train)")
    assert [group[0].name for group in found] == ["val_a.jpg", "train_b.jpg"]


def test_lines_of_lists(index, voc):
    (voc / "SegmentationClass" / "val_b.png").rename(voc / "SegmentationClass" / "other.png")
    text = "train.txt: 2 of 4 lines, such as '{}'".format
    assert [group[0].name for group in index.find(text("train_a"))] == ["train_a.jpg"]
    assert index.find(text("nothing")) == []


def test_every_kind_has_its_share_of_the_thumbnails(voc):
    report = Report()
    for number in range(30):
        (voc / "JPEGImages" / f"alone{number}.png").touch()
        report.problem("picture_without_mask", f"alone{number}.png")
        report.problem("picture_more", str(voc / "JPEGImages" / f"alone{number}.png"))
    report.problem("mask_smooth", "val_b.png (4 values along edges)")
    samples = voc_annotation.find_set(AnnotationConfig(VOCdevkit_path=str(voc)))[0]
    index = FileIndex(voc, samples)
    chosen = choose_files(report, index, most=8)
    assert {kind: len(files) for kind, files in chosen.items()} == {
        "mask_smooth": 2,
        "picture_without_mask": 3,
        "picture_more": 3,
    }
    assert sum(map(len, choose_files(report, index).values())) == 12  # five are named at most


# Folders


def test_datasets_are_found(here, make_voc):
    make_voc(here / "VOCdevkit")
    make_voc(here / "more" / "cells")
    (here / "more" / ".hidden" / "JPEGImages").mkdir(parents=True)
    (here / "more" / "1" / "2" / "3" / "4" / "JPEGImages").mkdir(parents=True)
    served = Served((Path("VOCdevkit"), Path("more"), Path("more/cells/VOC2007")), 1)
    assert find_datasets(served) == ["VOCdevkit", "more/cells", "more/cells/VOC2007"]


@pytest.mark.parametrize("text", ["/etc", "VOCdevkit/..", "..", "VOCdevkit/../logs", "\0"])
def test_other_folders_are_refused(work, voc, text):
    assert "lies outside the folders that this page shows" in text_of(check(work, text))
    assert "lies outside the folders that this page shows" in text_of(preview(work, text)[0])


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("SegmentationClass/val_b.png", "secret.png"),
        ("ImageSets/Segmentation/test.txt", "secret.png"),
        ("ImageSets/Segmentation/test.txt", "nowhere"),
        ("Annotations", "."),
    ],
)
def test_links_that_lead_out_are_refused(served, voc, here, place, target):
    (here / "secret.png").touch()
    path = voc / place
    path.unlink(missing_ok=True)
    path.symlink_to(here / target)
    with pytest.raises(UserError, match=f"VOC2007/{place} is a link that leads out") as caught:
        open_dataset(served, "VOCdevkit")
    assert str(here / target) not in str(caught.value)


def test_links_within_are_followed(served, voc):
    (voc / "JPEGImages" / "val_a.jpg").rename(voc / "val_a.jpg")
    (voc / "JPEGImages" / "val_a.jpg").symlink_to(voc / "val_a.jpg")
    assert open_dataset(served, " VOCdevkit ") == "VOCdevkit"


def test_no_folder_and_no_dataset(work, here):
    (here / "VOCdevkit").mkdir()
    assert "Choose a dataset" in check(work, "")
    assert "Choose a dataset" in check(work, None)
    assert "No dataset in VOCdevkit_path" in check(work)


# The corrected copy


def test_the_copy_is_shown_before_it_is_written(work, voc):
    before = hashes(voc.parent)
    html, button, config = preview(work)
    assert hashes(voc.parent) == before
    assert button.visible is True
    assert config == AnnotationConfig(VOCdevkit_path="VOCdevkit", fix=True)
    text = text_of(html)
    assert "The corrected copy would hold 6 pairs." in text
    assert re.search(r"masks written anew, with class ids\s+1\s+val_a", text)
    images = re.findall(r'<img[^>]* src="([^"]*)" alt="val_a: ([^"]*)"', html)
    shown = {title: _pixels(uri) for uri, title in images}
    assert list(shown) == ["image", "mask before", "mask after"]
    assert voc_palette(3)[2].tolist() in shown["mask after"].reshape(-1, 3).tolist()


def test_the_copy_is_written_as_shown(work, voc):
    *_, config = preview(work)
    html, button = work.apply(config)
    fixed = voc.with_name("VOC2007_fixed")
    assert 'role="status"' in html
    assert f"The corrected copy is {fixed}; train with --VOCdevkit_path {fixed}." in text_of(html)
    assert button.visible is False
    assert read_label_ids(fixed / "SegmentationClass" / "val_a.png").max() == 255
    assert "Nothing would make a training wrong." in check(work, "VOCdevkit/VOC2007_fixed")


def test_a_copy_that_is_there_is_refused(work, voc):
    *_, config = preview(work)
    voc.with_name("VOC2007_fixed").mkdir()
    html, _ = work.apply(config)
    assert "VOC2007_fixed exists already. Remove or rename it, then run this again." in html
    assert 'role="alert"' in html


def test_a_copy_of_nothing_is_not_offered(work, here, make_voc):
    make_voc(here / "VOCdevkit")
    html, button, config = preview(work)
    assert "Nothing to fix: all 6 pairs are as they should be." in html
    assert (button.visible, config) == (False, None)
    assert "Show the corrected copy first." in text_of(work.apply(config)[0])


def test_a_copy_needs_a_decision_first(work, voc):
    for path in (voc / "SegmentationClass").iterdir():
        Image.fromarray(np.array([[0, 255], [255, 37]], np.uint8).repeat(20, 0).repeat(20, 1)).save(
            path
        )
    html, *_ = preview(work)
    assert "The masks may mean two things, so nothing was written." in text_of(html)


def test_what_is_left_out_is_counted_by_its_reason(work, voc):
    (voc / "SegmentationClass" / "train_a.png").unlink()
    (voc / "SegmentationClass" / "train_b.png").unlink()
    (voc / "SegmentationClass" / "val_b.png").rename(voc / "SegmentationClass" / "VAL_B.png")
    text = text_of(preview(work)[0])
    assert re.search(r"left out: it has no mask\s+2\s+train_a.jpg, train_b.jpg", text)
    assert re.search(r"masks named as their images\s+1\s+val_b", text)


def test_many_reasons_are_summed_up(work, voc, monkeypatch):
    monkeypatch.setattr("webapp.check_fix._REASONS", 1)
    for name in ("train_a", "train_b"):  # each has a reason of its own
        (voc / "JPEGImages" / f"{name}.jpg").write_bytes(b"no image")
    (voc / "SegmentationClass" / "train_c.png").unlink()
    (voc / "SegmentationClass" / "train_d.png").unlink()
    text = text_of(preview(work)[0])
    assert re.search(r"left out: it has no mask\s+2", text)
    assert re.search(r"left out for other reasons\s+2\s+train_a, train_b", text)


def test_a_copy_beside_the_served_folder_is_refused(voc):
    work = Work(Served((Path("VOCdevkit/VOC2007"),), 10**7), SettingFields(AnnotationConfig))
    *_, config = preview(work, "VOCdevkit/VOC2007")
    assert "lies outside the folders" in text_of(work.apply(config)[0])
    assert not voc.with_name("VOC2007_fixed").exists()


def test_what_other_threads_say_is_not_heard():
    with _heard() as said:
        other = threading.Thread(target=say, args=("another visitor's",))
        other.start()
        other.join()
        say("mine")
        note("mine too")
    say("too late")
    assert said == ["mine", "mine too"]


# In a browser


@pytest.fixture
def cells(site, make_voc):
    """Path of VOC2007 among the served folders, with masks of 16 bits, one under a hostile name."""
    folder = make_voc(site / "VOCdevkit" / "cells") / "VOC2007"
    for part, end in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        (folder / part / f"val_a.{end}").rename(folder / part / f"{HOSTILE}.{end}")
    for name in (HOSTILE, "val_b"):
        path = folder / "SegmentationClass" / f"{name}.png"
        Image.fromarray(read_label_ids(path).astype(np.uint16)).save(path)
    yield folder
    shutil.rmtree(folder.parent)


def open_check(visit, size, dataset):
    """Opens the tab and names a dataset; returns (browser.Visit, the tab's panel)."""
    opened = visit(size)
    panel = opened.open_tab("Check")
    name_folder(panel, dataset)
    return opened, panel


def name_folder(panel, text):
    type_in((panel.locator("#check-folder input"), text), key="Enter")


def all_drawn(images):
    """Whether all images of a locator are there and have been decoded."""
    return images.count() > 0 and images.evaluate_all(
        "all => all.every(one => one.complete && one.naturalWidth > 0)"
    )


@pytest.mark.slow
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_a_set_is_checked_and_corrected_on_the_page(visit, cells, size):
    opened, panel = open_check(visit, size, "VOCdevkit/cells")
    dialogs = []
    opened.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    panel.locator("#check-look").click()
    report = panel.locator("#check-report")
    report.get_by_text("masks with 16-bit values: 2").first.wait_for()
    assert all_drawn(report.locator("figure img"))
    assert report.get_by_text(f"SegmentationClass/{HOSTILE}.png").first.is_visible()
    panel.locator("#check-plan").click()
    change = panel.locator("#check-change")
    change.get_by_text("The corrected copy would hold 6 pairs.").wait_for()
    assert all_drawn(change.locator("figure img"))
    assert opened.overflow() <= 0
    fixed = cells.with_name("VOC2007_fixed")
    assert not fixed.exists()
    panel.locator("#check-write").click()
    panel.locator("#check-written").get_by_text("The corrected copy is").wait_for()
    assert read_label_ids(fixed / "SegmentationClass" / f"{HOSTILE}.png").max() == 255
    assert panel.locator("#check-write").is_hidden()
    assert dialogs == []


@pytest.mark.slow
def test_mistakes_are_sentences_on_the_page(visit, cells):
    _, panel = open_check(visit, WIDE, "VOCdevkit/..")
    panel.locator("#check-look").click()
    message = panel.locator("#check-message")
    message.get_by_text("'VOCdevkit/..' lies outside the folders that this page shows").wait_for()
    cells.with_name("VOC2007_fixed").mkdir()
    name_folder(panel, "VOCdevkit/cells")
    panel.locator("#check-plan").click()
    panel.locator("#check-write").click()
    panel.locator("#check-written").get_by_text("VOC2007_fixed exists already.").wait_for()


@pytest.mark.slow
def test_a_report_is_its_visitors_alone(visit, cells):
    _, panel = open_check(visit, WIDE, "VOCdevkit/cells")
    panel.locator("#check-look").click()
    panel.locator("#check-report figure").first.wait_for()
    other = visit().open_tab("Check")
    assert other.locator("#check-report figure").count() == 0
