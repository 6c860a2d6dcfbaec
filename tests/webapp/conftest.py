"""Fixtures of the page: a folder to serve, a browser, visits that must keep to themselves."""

import shutil

import browser as browsers
import pytest


@pytest.fixture(scope="session")
def made_weights(tmp_path_factory):
    """The path of untrained weights that yet find their three classes: a, b, c."""
    from made_networks import network_of_three_classes

    from nets.weights.description import Description
    from nets.weights.storage import save_weights

    path = tmp_path_factory.mktemp("weights") / "best_epoch_weights.weights.h5"
    description = Description(3, "vgg", (32, 48), ("a", "b", "c"), width=8)
    save_weights(network_of_three_classes(0), path, description)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory, made_weights):
    """A working directory for app.py, with weights in logs/made and a file that is nobody's."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("logs/made", "model_data", "VOCdevkit", "miou_out"):
        (folder / name).mkdir(parents=True)
    shutil.copy(made_weights, folder / "logs" / "made")
    (folder / "logs" / "secret.txt").write_text("a secret", encoding="utf-8")
    (folder / "outside.txt").write_text("a secret", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def app(site):
    """A running app.py whose working directory is `site`, one for all tests of a module."""
    pytest.importorskip("gradio", reason="Gradio is not installed")
    with browsers.running_app(site) as running:
        yield running


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium."""
    pytest.importorskip("playwright", reason="Playwright is not installed")
    if not browsers.find_chromium():
        pytest.skip("there is no Chromium on this machine")
    with browsers.running_chromium() as running:
        yield running


@pytest.fixture
def visit(browser, app):
    """visit(size=WIDE): opens the page of `app`; returns browser.Visit.

    At the end no visit may have complained or asked other hosts.
    """
    visits = []

    def open_page(size=browsers.WIDE):
        visits.append(browsers.Visit(browser, app.url, size))
        return visits[-1]

    yield open_page
    complaints = [text for one in visits for text in one.complaints]
    foreign = [url for one in visits for url in one.foreign]
    for one in visits:
        one.close()
    assert not foreign
    assert not complaints
