"""The tab "Report": an evaluation as it was written, its worst images, and new evaluations."""

import csv
import re
import shutil
import threading
from html import escape, unescape
from pathlib import Path

import numpy as np
import pytest
from browser import NARROW, WIDE, type_in

import get_miou
from errors import UserError
from get_miou import MiouConfig
from utils.data.masks import read_label_ids
from utils.data.voc import read_samples

pytest.importorskip("gradio", reason="Gradio is not installed")

import gradio

from webapp import report_process
from webapp.report_process import LOG, Evaluations
from webapp.report_tab import Work
from webapp.report_view import find_evaluations, show_report, show_worst
from webapp.served import Served

HOSTILE = "=<img src=x onerror=alert(1)>"
PATIENCE = 300  # seconds


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working directory, with weights that nobody reads."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "best.weights.h5").touch()
    return tmp_path


@pytest.fixture
def served(here):
    return Served((Path("VOCdevkit"), Path("logs"), Path("miou_out")), 10**7)


@pytest.fixture
def work(served):
    return Work(served)


@pytest.fixture
def voc(here, make_voc):
    """Path of VOC2007, in which one image has a name with markup."""
    folder = make_voc(here / "VOCdevkit") / "VOC2007"
    for part, end in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        (folder / part / f"train_b.{end}").rename(folder / part / f"{HOSTILE}.{end}")
    path = folder / "ImageSets" / "Segmentation" / "train.txt"
    path.write_text(path.read_text("utf-8").replace("train_b", HOSTILE), encoding="utf-8")
    return folder


@pytest.fixture
def evaluation(voc, here, rng, write_mask):
    """Path of an evaluation of the training images: each has more errors than the one before."""
    out = here / "miou_out" / "first"
    for index, sample in enumerate(read_samples(voc, "train")):
        mask = read_label_ids(sample.mask_path)
        wrong = (rng.random(mask.shape) < 0.2 * index) | (mask == 255)
        predicted = np.where(wrong, rng.integers(0, 3, mask.shape), mask).astype(np.uint8)
        write_mask(out / "detection-results" / f"{sample.name}.png", predicted)
    get_miou.main(
        MiouConfig(
            miou_mode=2,
            num_classes=3,
            VOCdevkit_path="VOCdevkit",
            val_list="train",
            miou_out_path=str(out),
        )
    )
    return out


def framed(html):
    """The page that a frame holds."""
    return unescape(re.fullmatch(r'<iframe [^>]* srcdoc="([^"]*)"></iframe>', html)[1])


def names_of(page):
    """The names of the images of a page, from the top."""
    return [unescape(name) for name in re.findall("<figcaption><b>(.*?)</b>", page)]


# An evaluation that is there


def test_the_report_is_shown_as_it_is(served, evaluation):
    html = show_report(served, "miou_out/first")
    assert framed(html) == (evaluation / "report.html").read_text("utf-8")


def test_the_frame_keeps_the_report_to_itself(served, evaluation):
    (evaluation / "report.html").write_text('"><script>alert(1)</script>', encoding="utf-8")
    html = show_report(served, "miou_out/first")
    assert html.count("<") == 2  # the frame's own
    assert 'sandbox="allow-scripts"' in html  # and not allow-same-origin


def test_the_worst_come_first_as_many_as_asked(served, evaluation):
    with open(evaluation / "pictures.csv", encoding="utf-8-sig", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["miou"]))
    expected = [row["picture"].lstrip("'") for row in rows]
    assert HOSTILE in expected
    for count in (1, 3, 48):
        page = framed(show_worst(served, "miou_out/first", "VOCdevkit", count))
        assert names_of(page) == expected[:count]
        titles = re.findall(r'alt="[^"]*: (\w+)"', page)
        assert titles == ["image", "truth", "prediction", "errors"] * min(count, 4)


def test_names_of_images_are_text(served, evaluation):
    html = show_worst(served, "miou_out/first", "VOCdevkit", 4)
    assert "<img src=x" not in framed(html)
    assert escape(HOSTILE) in framed(html)


def test_evaluations_are_found(served, evaluation, here):
    (here / "logs" / "run").mkdir()
    (here / "logs" / "run" / "report.html").touch()
    (here / "outside").mkdir()
    (here / "outside" / "report.html").touch()
    assert find_evaluations(served) == ["logs/run", "miou_out/first"]


@pytest.mark.parametrize("text", ["/etc", "miou_out/../../x", "outside", "\0"])
def test_other_folders_are_refused(work, evaluation, text):
    for message, _ in (
        work.show(text),
        work.show_worst(text, "VOCdevkit", 3),
        work.show_worst("miou_out/first", text, 3),
    ):
        assert "lies outside the folders that this page shows" in unescape(message)


@pytest.mark.parametrize(
    "place", ["report.html", "pictures.csv", "detection-results/train_a.png", "detection-results"]
)
def test_links_that_lead_out_are_refused(work, evaluation, here, place):
    path = evaluation / place
    path.rename(here / "elsewhere")
    path.symlink_to(here / "elsewhere")
    message, _ = work.show_worst("miou_out/first", "VOCdevkit", 3)
    assert f"{place} is a link that leads out" in message


def test_no_evaluation(work, evaluation):
    assert "Choose the folder of an evaluation" in work.show("")[0]
    assert "Choose the folder of an evaluation" in work.show(None)[0]
    assert "logs holds no evaluation: there is no report.html." in work.show("logs")[0]


@pytest.mark.parametrize("text", ["", "[]", '{"classes": [{}]}', '{"classes": [], "x": 1}'])
def test_damaged_results(work, evaluation, text):
    (evaluation / "results.json").write_text(text, encoding="utf-8")
    message, _ = work.show_worst("miou_out/first", "VOCdevkit", 3)
    assert "results.json is missing or damaged. Evaluate the weights again." in message


@pytest.mark.parametrize("text", [None, "", "picture,height\na,b\n", "\0\n\0"])
def test_a_damaged_table(work, evaluation, text):
    (evaluation / "pictures.csv").unlink()
    if text is not None:
        (evaluation / "pictures.csv").write_text(text, encoding="utf-8")
    message, _ = work.show_worst("miou_out/first", "VOCdevkit", 3)
    assert "pictures.csv is missing or damaged" in message


def test_images_of_another_dataset(work, evaluation, here, make_voc):
    make_voc(here / "VOCdevkit" / "other")
    message, _ = work.show_worst("miou_out/first", "VOCdevkit/other", 4)
    assert "VOCdevkit/other holds no image" in message
    assert "Choose the dataset that it was made with." in message


def test_predictions_that_are_gone(work, evaluation):
    (evaluation / "detection-results" / "train_a.png").unlink()
    message, _ = work.show_worst("miou_out/first", "VOCdevkit", 4)
    assert "train_a.png" in message
    assert 'role="alert"' in message


# New evaluations


@pytest.fixture
def stand_in(monkeypatch, here):
    """In the place of get_miou.py: prints its arguments, and ends as the file `end` says."""
    script = here / "stand_in.py"
    script.write_text(
        "import pathlib, sys, time\n"
        "print('began', *sys.argv[1:])\n"
        "end = pathlib.Path('end')\n"
        "while not end.exists(): time.sleep(0.05)\n"
        "print('<b>ends</b>')\n"
        "sys.exit(int(end.read_text()))\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(report_process, "_SCRIPT", script)
    return lambda status: (here / "end").write_text(str(status))


def config(out="miou_out"):
    return MiouConfig(model_path="logs/best.weights.h5", miou_out_path=out)


def until(steps, text):
    """Goes on until the output holds a text; returns that step."""
    return next(step for step in steps if text in step[0])


def test_the_output_is_followed_to_the_end(stand_in, here):
    steps = Evaluations().follow(config())
    text, status = until(steps, "began")
    assert text == "began --model_path=logs/best.weights.h5\n"
    assert status is None
    stand_in(0)
    assert list(steps)[-1] == (f"{text}<b>ends</b>\n", 0)
    assert (here / "miou_out" / LOG).read_text("utf-8") == f"{text}<b>ends</b>\n"


def test_two_do_not_write_into_one_folder(stand_in, here):
    evaluations = Evaluations()
    first = evaluations.follow(config())
    next(first)
    with pytest.raises(UserError, match="Another evaluation is writing into miou_out"):
        next(evaluations.follow(config()))
    second = evaluations.follow(config("other"))
    until(second, "began")
    stand_in(0)
    assert list(first)[-1][1] == list(second)[-1][1] == 0
    assert list(evaluations.follow(config()))[-1][1] == 0  # the folder is free again


def test_it_goes_on_when_nobody_follows(stand_in, here):
    evaluations = Evaluations()
    steps = evaluations.follow(config())
    until(steps, "began")
    steps.close()
    with pytest.raises(UserError, match="Another evaluation is writing"):
        next(evaluations.follow(config()))
    stand_in(0)
    process = evaluations._running[(here / "miou_out").resolve()]
    assert process.wait(PATIENCE) == 0
    assert "ends" in (here / "miou_out" / LOG).read_text("utf-8")


def test_it_can_be_stopped(stand_in):
    evaluations = Evaluations()
    steps = evaluations.follow(config())
    until(steps, "began")
    evaluations.stop("elsewhere")
    evaluations.stop("miou_out")
    assert list(steps)[-1][1] not in (None, 0)
    evaluations.stop("miou_out")  # it has ended


def test_a_folder_with_other_things_is_left_alone(stand_in, voc):
    before = sorted(voc.rglob("*"))
    with pytest.raises(UserError, match="VOC2007 holds other things than an evaluation"):
        next(Evaluations().follow(config(str(voc))))
    assert sorted(voc.rglob("*")) == before


def test_links_in_the_folder_to_write_to_are_refused(stand_in, work, voc, here):
    (here / "miou_out").mkdir()
    (here / "miou_out" / "detection-results").symlink_to(here)
    (steps,) = work.evaluate("logs/best.weights.h5", "VOCdevkit", *FIELDS)
    assert "detection-results is a link that leads out" in steps[0]


FIELDS = ("train", "none", 0, "miou_out")


def test_the_page_says_how_it_ended(stand_in, work, voc, evaluation):
    stand_in(0)
    steps = list(work.evaluate("logs/best.weights.h5", "VOCdevkit", *FIELDS[:3], "miou_out/first"))
    message, printed, folder, chosen = steps[-1]
    assert "The evaluation is in miou_out/first." in message
    assert "began --model_path=logs/best.weights.h5 --val_list=train" in printed
    assert "&lt;b&gt;ends&lt;/b&gt;" in printed
    assert (folder, chosen.value) == ("miou_out/first", "miou_out/first")
    kept, html, running = work.show_own(folder)
    assert kept == gradio.skip()  # what was said stays
    assert "<iframe" in html
    assert running is None
    assert work.show_own(None) == (gradio.skip(), gradio.skip(), None)


def test_the_page_says_that_it_failed(stand_in, work, voc):
    stand_in(2)
    message, printed, folder, _ = list(work.evaluate("logs/best.weights.h5", "VOCdevkit", *FIELDS))[
        -1
    ]
    assert 'role="alert"' in message
    assert "The evaluation came to no end" in message
    assert "ends" in printed
    assert folder is None


def test_the_page_says_that_it_was_stopped(stand_in, work, voc):
    seen = []
    began = threading.Event()

    def follow():
        for step in work.evaluate("logs/best.weights.h5", "VOCdevkit", *FIELDS):
            seen.append(step)
            if "began" in step[1]:
                began.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert began.wait(PATIENCE)
    work.stop(None)  # somebody else's page
    assert seen[-1][0] == ""
    work.stop(seen[-1][2])
    thread.join(PATIENCE)
    assert "The evaluation was stopped." in seen[-1][0]


@pytest.mark.parametrize(
    ("weights", "dataset", "fields", "said"),
    [
        ("", "VOCdevkit", FIELDS, "There are no trained weights"),
        ("/etc/passwd", "VOCdevkit", FIELDS, "'/etc/passwd' lies outside"),
        ("logs/best.weights.h5", "..", FIELDS, "'..' lies outside"),
        ("logs/best.weights.h5", "VOCdevkit", ("../../../../x", *FIELDS[1:]), "lies outside"),
        ("logs/best.weights.h5", "VOCdevkit", ("/etc/a.txt", *FIELDS[1:]), "lies outside"),
        ("logs/best.weights.h5", "VOCdevkit", (*FIELDS[:3], "elsewhere"), "lies outside"),
        ("logs/best.weights.h5", "VOCdevkit", (*FIELDS[:3], "VOCdevkit"), "other things"),
        ("logs/best.weights.h5", "VOCdevkit", (*FIELDS[:2], -1, "miou_out"), "at least 0"),
    ],
)
def test_what_can_not_be_evaluated_is_a_sentence(
    stand_in, work, voc, here, weights, dataset, fields, said
):
    stand_in(0)
    steps = list(work.evaluate(weights, dataset, *fields))
    assert len(steps) == 1
    assert said in unescape(steps[0][0])
    assert 'role="alert"' in steps[0][0]
    assert not list(here.rglob(LOG))


# In a browser


@pytest.fixture
def cells(site, make_voc, rng, write_mask):
    """An evaluation in miou_out/cells of the served folders, of their dataset VOCdevkit/cells."""
    dataset, out = make_voc(site / "VOCdevkit" / "cells"), site / "miou_out" / "cells"
    for sample in read_samples(dataset, "train"):
        predicted = rng.integers(0, 3, read_label_ids(sample.mask_path).shape, np.uint8)
        write_mask(out / "detection-results" / f"{sample.name}.png", predicted)
    get_miou.main(
        MiouConfig(
            miou_mode=2,
            num_classes=3,
            VOCdevkit_path=str(dataset),
            val_list="train",
            miou_out_path=str(out),
        )
    )
    yield out
    shutil.rmtree(dataset)
    shutil.rmtree(out)


def fill(panel, name, text):
    type_in((panel.locator(f"#report-{name} input"), text), key="Enter")


@pytest.mark.slow
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_an_evaluation_is_shown(visit, cells, size):
    opened = visit(size)
    panel = opened.open_tab("Report")
    fill(panel, "folder", "miou_out/cells")
    panel.locator("#report-show").click()
    report = panel.frame_locator("#report-report iframe")
    report.get_by_role("heading", level=1).wait_for()
    assert "mIoU without background" in report.locator(".tiles").inner_text()
    report.locator("table.scores thead th button").nth(1).click()  # its script runs
    assert report.locator("table.scores thead th").nth(1).get_attribute("aria-sort") == "ascending"
    fill(panel, "dataset", "VOCdevkit/cells")
    panel.locator("#report-more").click()
    worst = panel.frame_locator("#report-worst iframe")
    worst.get_by_role("heading", name="The 4 worst images").wait_for()
    drawn = worst.locator("figure img").evaluate_all(
        "all => all.map(one => one.complete && one.naturalWidth > 0)"
    )
    assert drawn == [True] * 16
    assert opened.overflow() <= 0


@pytest.mark.slow
def test_weights_are_evaluated_on_the_page(visit, cells, site):
    panel = visit().open_tab("Report")
    if not panel.locator("#report-weights").is_visible():
        panel.get_by_role("button", name="Evaluate weights").click()
    fill(panel, "dataset", "VOCdevkit/cells")
    fill(panel, "weights", "logs/made/best_epoch_weights.weights.h5")
    folder = panel.locator("#get_miou-miou_out_path textarea, #get_miou-miou_out_path input")
    type_in((folder, "miou_out/new"))
    panel.locator("#report-start").click()
    panel.get_by_text("The evaluation is in miou_out/new.").wait_for()
    report = panel.frame_locator("#report-report iframe")
    report.get_by_text("logs/made/best_epoch_weights.weights.h5").first.wait_for()
    assert "mIoU" in panel.locator("#report-output").inner_text()
    assert (site / "miou_out" / "new" / "results.json").is_file()


@pytest.mark.slow
def test_mistakes_are_sentences_on_the_page(visit):
    panel = visit().open_tab("Report")
    fill(panel, "folder", "miou_out/..")
    panel.locator("#report-show").click()
    panel.locator("#report-message").get_by_text("lies outside the folders").wait_for()
