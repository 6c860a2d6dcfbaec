"""The report as a file, as a parser sees it, and as a browser does."""

import json
import os
import re
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from utils.data.masks import read_label_ids
from utils.data.voc import read_samples
from utils.evaluation.evaluate import evaluate
from utils.evaluation.finding import find
from utils.evaluation.html_report import Evaluation, find_run, write_html_report
from utils.evaluation.metrics import score
from utils.evaluation.score_tables import score_image

HOSTILE = '<script>alert("cat")</script> & <img src=x>'
NAMES = ("background", HOSTILE, "猫")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)


class Page(HTMLParser):
    """Tags with their attributes, and all text outside of <style> and <script>."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._inside = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside.append(tag)

    def handle_endtag(self, tag):
        del self._inside[len(self._inside) - 1 - self._inside[::-1].index(tag) :]

    def handle_data(self, data):
        if not {"style", "script"} & set(self._inside):
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def evaluation(voc_dir, tmp_path, rng, write_mask):
    """An evaluation of all six samples, every other prediction with many errors."""
    samples = read_samples(voc_dir, "train") + read_samples(voc_dir, "val")
    for index, sample in enumerate(samples):
        mask = read_label_ids(sample.mask_path)
        wrong = rng.random(mask.shape) < 0.05 + 0.1 * index
        predicted = np.where(wrong | (mask == 255), rng.integers(0, 3, mask.shape), mask)
        write_mask(tmp_path / "predictions" / f"{sample.name}.png", predicted.astype(np.uint8))
    predictions = [read_label_ids(tmp_path / "predictions" / f"{one.name}.png") for one in samples]
    images = []
    counts = evaluate(
        samples,
        predictions,
        3,
        boundary=True,
        on_image=lambda *image: images.append(score_image(*image)),
    )
    facts = {"weights": f"logs/{HOSTILE}.h5", "pictures": "6"}
    folder = tmp_path / "predictions"
    return Evaluation(facts, NAMES, (255,), score(counts), images, folder)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "logs" / "loss_2026_01_01_00_00_00"
    folder.mkdir(parents=True)
    Image.new("RGB", (40, 30), "green").save(folder / "curves.png")
    return folder


def written(evaluation, tmp_path, run=None):
    path = tmp_path / "out" / "report.html"
    write_html_report(evaluation, run, path)
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_a_page_holds_everything_and_asks_for_nothing(evaluation, tmp_path, run):
    text = written(evaluation, tmp_path, run)
    found = Page(text)
    images = [image["src"] for image in found.all("img")]
    assert len(images) == 4 * 6 + 1
    assert all(image.startswith("data:image/") for image in images)
    assert all(image["alt"] for image in found.all("img"))
    assert found.all("link") == [{"rel": "icon", "href": "data:,"}]
    assert not {"iframe", "object", "base"} & {tag for tag, _ in found.tags}
    assert found.all("script") == [{}]  # no source elsewhere, and none but the page's own
    assert not re.search("https?:|url\\(|@import", text)
    assert len(text) < 5_000_000


def test_names_are_text_and_no_markup(evaluation, tmp_path):
    text = written(evaluation, tmp_path)
    assert text.count("<script") == 1
    assert "src=x>" not in text
    found = Page(text)
    assert found.text.count(HOSTILE) >= 4  # table, both sides of the matrix, legend
    assert f"logs/{HOSTILE}.h5" in found.text
    assert "猫" in found.text


def test_the_numbers_are_those_of_the_scores(evaluation, tmp_path):
    text = "\n".join(Page(written(evaluation, tmp_path)).text)
    scores = evaluation.scores
    for value in (
        scores.miou, scores.miou_without_background, scores.frequency_weighted_iou,
        scores.mean_dice, scores.mean_boundary_iou, scores.accuracy, scores.void_share,
        *scores.iou, *scores.dice, *scores.recall, *scores.precision, *scores.boundary_iou,
        *scores.frequency, *(one.miou for one in evaluation.images),
    ):  # fmt: skip
        assert f"{100 * value:.2f}" in text
    for value in (scores.pixels, scores.void_pixels, *scores.counts.void):
        assert f"{value:,}" in text


def captions(text):
    return re.findall(r"<figcaption><b>(.*?)</b>", text)


def test_six_images_are_shown_once_the_worst_first(evaluation, tmp_path):
    text = written(evaluation, tmp_path)
    assert captions(text) == ["val_b", "val_a", "train_d", "train_c", "train_b", "train_a"]
    assert "All images, the worst first" in text
    assert "Around the median" not in text


def test_images_of_a_larger_set(evaluation, tmp_path):
    """18 images: the same six, listed three times over."""
    object.__setattr__(evaluation, "images", evaluation.images * 3)
    text = written(evaluation, tmp_path)
    order = ["val_b", "val_a", "train_d", "train_c", "train_b", "train_a"]
    assert captions(text) == [name for name in order[:4] for _ in range(3)]
    assert "The worst, by mean IoU" in text
    assert "Around the median" in text


def test_images_of_void_alone_are_not_shown(evaluation, tmp_path):
    nothing = evaluation.images[0]._replace(miou=np.nan, accuracy=np.nan)
    object.__setattr__(evaluation, "images", [nothing])
    assert captions(written(evaluation, tmp_path)) == []


def test_the_training_s_curves(evaluation, tmp_path, run):
    assert "<h2>Training</h2>" not in written(evaluation, tmp_path)
    text = written(evaluation, tmp_path, run)
    assert "<h2>Training</h2>" in text
    assert run.name in text


def test_the_newest_run_beside_the_weights(tmp_path):
    weights = tmp_path / "best.weights.h5"
    assert find_run(weights) is None
    for age, name in enumerate(("loss_b", "loss_c", "loss_a", "other")):
        path = tmp_path / name / "curves.png"
        path.parent.mkdir()
        path.write_bytes(b"")
        os.utime(path, (1000 + age, 1000 + age))
    (tmp_path / "loss_z").mkdir()  # a run that has no curves yet
    assert find_run(weights) == tmp_path / "loss_a"


def test_the_run_that_holds_the_weights(tmp_path):
    """It is told from later runs by the file, which both names stand for."""
    weights = tmp_path / "best.weights.h5"
    for age, name in enumerate(("loss_a", "loss_b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "curves.png").write_bytes(b"")
        os.utime(tmp_path / name / "curves.png", (1000 + age, 1000 + age))
        (tmp_path / name / weights.name).write_bytes(b"weights")
        os.utime(tmp_path / name / weights.name, (1000 + age, 1000 + age))
    os.link(tmp_path / "loss_a" / weights.name, weights)
    assert find_run(weights) == tmp_path / "loss_a"
    assert find_run(tmp_path / "loss_b" / weights.name) == tmp_path / "loss_b"


# The headline and the settings


def test_the_finding_is_the_headline(evaluation, tmp_path):
    finding = find(evaluation.scores, NAMES)
    text = written(evaluation, tmp_path)
    assert f"<h1>{escape(finding.headline)}</h1>" in text
    assert finding.detail in Page(text).text
    assert 'class="warning"' not in text


def test_a_headline_s_names_are_no_markup(evaluation, tmp_path):
    evaluation.scores.counts.matrix[:] = [[9, 0, 0], [1, 1, 0], [0, 0, 9]]
    text = written(evaluation, tmp_path)
    assert Page(text).text.count(f"{HOSTILE} is taken for background in 50% of its pixels") == 1


def test_predictions_of_other_classes_are_warned_of(evaluation, tmp_path):
    evaluation.scores.counts.matrix[:] = [[0, 0, 90000], [0, 0, 10000], [0, 0, 0]]
    assert "Were the weights trained for other classes" in written(evaluation, tmp_path)


def test_the_settings_are_linked_and_in_the_page(evaluation, tmp_path, run):
    settings = {"model_path": HOSTILE, "tile": None, "input_shape": (256, 320)}
    object.__setattr__(evaluation, "settings", settings)
    trained = {"name_classes": ["猫", HOSTILE], "init_lr": 1e-4}
    (run / "settings.json").write_text(json.dumps(trained), encoding="utf-8")
    text = written(evaluation, tmp_path, run)
    found = Page(text)
    assert found.all("a") == [{"href": "#settings"}]
    assert {"id": "settings"} in found.all("h2")
    assert f"this evaluation, the training {run.name}" in found.text
    for shown in (
        json.dumps(HOSTILE), "null", "[256, 320]", json.dumps(["猫", HOSTILE], ensure_ascii=False),
        "0.0001",
    ):  # fmt: skip
        assert shown in found.text
    assert text.count("<script") == 1


@pytest.mark.parametrize("content", [None, "[1]", "{", "\0"])
def test_a_run_without_settings_that_can_be_read(evaluation, tmp_path, run, content):
    if content is not None:
        (run / "settings.json").write_text(content)
    found = Page(written(evaluation, tmp_path, run))
    assert found.all("a") == []
    assert "Settings" not in found.text


def test_a_report_that_cannot_be_finished_leaves_the_old_one(evaluation, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("of an earlier run")
    (evaluation.predictions / "val_b.png").unlink()
    with pytest.raises(ValueError, match=r"val_b\.png can't be read"):
        write_html_report(evaluation, None, path)
    assert path.read_text() == "of an earlier run"
    assert not list(tmp_path.glob(".*"))


def browse(path, folder, *options):
    """The page as a browser leaves it, what it said, and the addresses it asked for."""
    log = folder / "net.json"
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--disable-extensions", f"--user-data-dir={folder / 'profile'}",
         f"--log-net-log={log}", "--enable-logging=stderr", *options, "--dump-dom",
         path.as_uri()],
        capture_output=True, encoding="utf-8", timeout=100, check=True,
    )  # fmt: skip
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    asked = {one["params"]["url"] for one in events if "url" in one.get("params", {})}
    return done.stdout, done.stderr, asked


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_a_browser_opens_it_from_disk(evaluation, tmp_path, run):
    written(evaluation, tmp_path, run)
    shown, said, asked = browse(tmp_path / "out" / "report.html", tmp_path)
    assert "CONSOLE" not in said
    hosts = {urlsplit(url).hostname for url in asked} - {None}
    of_browser = (".google.com", ".googleapis.com")  # which asks for updates of its own
    assert not {host for host in hosts if not host.endswith(of_browser)}
    found = Page(shown)
    assert len(found.all("img")) == 25
    assert found.text.count(HOSTILE) >= 4
    assert len(found.all("figure")) == 6


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
@pytest.mark.parametrize(
    ("clicks", "order", "direction"),
    [(0, "012", []), (1, "201", ["ascending"]), (2, "021", ["descending"])],
)
def test_a_click_sorts_a_column(evaluation, tmp_path, clicks, order, direction):
    """IoU 2/3, none, 0: ascending first, then descending, what is not defined last."""
    evaluation.scores.iou[:] = [2 / 3, np.nan, 0]
    path = tmp_path / "out" / "report.html"
    text = written(evaluation, tmp_path)
    # The page's policy would not let this script run.
    text = re.sub(r"<meta http-equiv.*?>", "", text, flags=re.DOTALL)
    click = "<script>for (let n = 0; n < %d; n++) document.querySelectorAll('.scores button')[1]"
    path.write_text(f"{text}{click % clicks}.click()</script>", encoding="utf-8")
    shown, said, _ = browse(path, tmp_path)
    assert "CONSOLE" not in said
    rows = re.findall(r'<tr><th scope="row" data-v="(\d)">', shown)
    assert "".join(rows) == order
    assert re.findall(r'<th scope="col" aria-sort="(\w+)"', shown) == direction


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_the_check_in_a_browser_notices_errors_and_requests(tmp_path):
    """What the test above would see in a page that is not self-contained."""
    path = tmp_path / "report.html"
    path.write_text('<script>console.error("bad")</script><img src="http://127.0.0.1:9/a.png">')
    _, said, asked = browse(path, tmp_path)
    assert "CONSOLE" in said
    assert "http://127.0.0.1:9/a.png" in asked
