"""The tab "Train" in a browser: a training started, followed, stopped, resumed, found again."""

import csv
import os
import re
import signal
import time

import browser as browsers
import pytest
from browser import NARROW, PATIENCE, WIDE, type_in

from utils.runs.state import read_state
from webapp.train_processes import find_processes

pytestmark = pytest.mark.slow

EPOCHS = 25  # so many that it still runs while all this is done
TINY = {
    "Network": {"model_path": "", "input_shape": "32,32", "width": "4", "engine": "fixed"},
    "Phases": {"unfreeze_epoch": str(EPOCHS)},
    "Augmentation": {"crops_per_image": "12"},
    "Files and scores": {"save_period": "0", "eval_period": "1"},
}
COMMAND = (
    "python train.py --num_classes=3 --model_path= --input_shape=32,32 --width=4 --engine=fixed "
    f"--unfreeze_epoch={EPOCHS} --crops_per_image=12 --save_period=0 --eval_period=1"
)


@pytest.fixture
def trainings(site, make_voc):
    """The folder of runs, beside a data set; trainings that still run at the end are ended."""
    make_voc(site / "VOCdevkit")
    yield site / "logs"
    for process in find_processes():
        if any(path.is_relative_to(site) for path in process.held):
            os.kill(process.number, signal.SIGKILL)


def fill(page, **values):
    """Types into the fields of settings."""
    fields = [page.locator(f"#train-{name}").locator("input, textarea").first for name in values]
    type_in(*zip(fields, values.values(), strict=True))


def unfold(page, title):
    page.get_by_role("button", name=re.compile(f"^{title}")).click()


def fill_in(visit):
    """Sets what a tiny training needs, and waits for its command."""
    page = visit.page
    visit.open_tab("Train")
    fill(page, num_classes="3", time_limit="0")
    page.locator("#train-plan input").click()
    page.get_by_role("option", name="off", exact=True).click()
    unfold(page, "All other settings")
    for title, values in TINY.items():
        unfold(page, title)
        fill(page, **values)
    wait_for_text(page, "#train_command", COMMAND)


def wait_for_text(page, where, text):
    page.wait_for_function(
        "([where, text]) => document.querySelector(where)?.innerText.replace(/\\s+/g, ' ')"
        ".includes(text)",
        arg=[where, text],
    )


def wait_for_status(page, pattern):
    """Waits until the status matches; returns it."""
    field = "#train_status textarea"
    page.wait_for_function(
        "([field, pattern]) => new RegExp(pattern).test(document.querySelector(field)?.value)",
        arg=[field, pattern],
    )
    return page.locator(field).input_value()


def epochs_of(text):
    return int(re.search(r"(\d+) epochs? (is|are) done", text)[1])


def read_epochs(folder):
    with open(folder / "history.csv", newline="") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


def test_a_training_outlives_its_page_and_the_program_that_started_it(browser, site, trainings):
    with browsers.running_app(site) as app:
        visit = browsers.Visit(browser, app.url, WIDE)
        page = visit.page
        fill_in(visit)
        page.locator("#train_start").click()
        wait_for_status(page, r"^Running: ([2-9]|\d\d) epochs[^]*Best validation mIoU [\d.]+%")
        for curve in ("loss", "mean_iou"):
            page.locator(f"#train_{curve}").locator("canvas, svg.marks").first.wait_for()
        page.locator("#train_pictures img").nth(1).wait_for()
        page.locator("#train_start").click()
        wait_for_text(page, "#train_message", "Another training is using logs.")

        page.locator("#train_stop").click()
        stopped = wait_for_status(page, "^Interrupted: ")
        (run,) = trainings.glob("loss_*")
        assert 2 <= read_state(run, with_arrays=False).epoch == epochs_of(stopped) < EPOCHS
        page.locator("#train_resume:enabled").click()
        wait_for_status(page, "^Running: ")
        visit.close()
        assert not visit.complaints + visit.foreign

    with browsers.running_app(site) as app:
        visit = browsers.Visit(browser, app.url, NARROW)
        visit.open_tab("Train")
        assert wait_for_status(visit.page, f"^(Running|Finished: {EPOCHS})")
        assert visit.page.locator("#train_run input").input_value().startswith("logs/loss_")
        wait_for_status(visit.page, f"^Finished: {EPOCHS} epochs")
        assert visit.overflow() <= 0
        visit.close()
        assert not visit.complaints + visit.foreign
    assert list(trainings.glob("loss_*")) == [run]
    assert read_epochs(run) == list(range(1, EPOCHS + 1))
    assert (trainings / "best_epoch_weights.weights.h5").is_file()


def test_what_is_wrong_is_said_before_anything_starts(visit, trainings):
    opened = visit(WIDE)
    page = opened.page
    opened.open_tab("Train")
    wait_for_text(page, "#train_command", "python train.py --plan=auto --time_limit=60.0")
    fill(page, num_classes="1")
    wait_for_text(page, "#train_message", "num_classes must be 2 to 255")
    fill(page, num_classes="3")
    wait_for_text(page, "#train_command", "--num_classes=3")
    assert page.locator("#train_message").inner_text() == ""
    before = list(trainings.glob("page_*"))
    for path in ("/etc", "../outside.txt", "logs/nowhere"):
        fill(page, VOCdevkit_path=path)
        wait_for_text(page, "#train_command", path)
        page.locator("#train_start").click()
        expected = "No dataset in" if path.startswith("logs") else "lies outside the folders"
        wait_for_text(page, "#train_message", expected)
    assert list(trainings.glob("page_*")) == before


def test_a_training_that_fails_says_why(visit, trainings, site):
    """Here more is wrong with the data than what is asked before it starts."""
    opened = visit(NARROW)
    page = opened.page
    opened.open_tab("Train")
    fill(page, num_classes="2")  # the masks hold more
    unfold(page, "All other settings")
    unfold(page, "Files and scores")
    fill(page, save_dir="logs/few")
    wait_for_text(page, "#train_command", "--save_dir=logs/few")
    page.locator("#train_start").click()
    assert "Raise num_classes" in wait_for_status(page, "^error: The data can't be used")
    output = page.locator("#train_output textarea").input_value()
    assert output.startswith("$ python train.py --plan=auto --time_limit=60.0 --num_classes=2")
    assert "Traceback" not in output
    assert opened.overflow() <= 0
    end = time.monotonic() + PATIENCE
    while any((site / "logs" / "few").glob("loss_*")):
        assert time.monotonic() < end
