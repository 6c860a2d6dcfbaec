"""app.py as a process of its own, and pages that remember what they asked for and complained of."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
WIDE, NARROW = (1280, 900), (390, 844)  # width, height of windows
PATIENCE = 300  # seconds; a loaded machine takes its time to import Keras
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class App(NamedTuple):
    """A running app.py.

    Attributes:
        url: str, of its page.
        process: subprocess.Popen.
        log: Path of what it prints.
    """

    url: str
    process: subprocess.Popen
    log: Path

    def printed(self):
        """All that it printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def find_chromium():
    """The path of the system's Chromium, or None."""
    return next(filter(None, map(shutil.which, _CHROMIUM)), None)


def free_port():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def start_app(folder, *arguments):
    """Starts app.py.

    Args:
        folder: Path, its working directory: its settings `folders` are seen from there.
        arguments: further ones of the command line.

    Returns:
        App, which need not answer yet.
    """
    port, log = free_port(), Path(folder) / "app.log"
    command = [sys.executable, str(ROOT / "app.py"), "--no-browser", f"--port={port}", *arguments]
    with open(log, "wb") as file, _heard_ctrl_c():
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT)
    return App(f"http://127.0.0.1:{port}", process, log)


@contextlib.contextmanager
def _heard_ctrl_c():
    """Tests that run in the background of a shell ignore it, and so would their children."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def wait_for(app):
    """Waits until a started App answers."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if app.process.poll() is not None:
            raise AssertionError(f"app.py ended with {app.process.returncode}: {app.printed()}")
        try:
            with urllib.request.urlopen(app.url, timeout=PATIENCE):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise AssertionError(f"app.py does not answer: {app.printed()}")


def stop_app(app):
    """Ends an App as Ctrl-C does; returns its exit status."""
    if app.process.poll() is None:
        app.process.send_signal(signal.SIGINT)
    try:
        return app.process.wait(PATIENCE)
    finally:
        app.process.kill()  # of a process that has ended, nothing


@contextlib.contextmanager
def running_app(folder, *arguments):
    """An App that answers, as of `start_app`; it is stopped at the end."""
    app = start_app(folder, *arguments)
    try:
        wait_for(app)
        yield app
    finally:
        stop_app(app)


@contextlib.contextmanager
def running_chromium():
    """Playwright's Browser, the system's Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=options)
        yield browser
        browser.close()


def type_in(*typed, key=None):
    """Types texts into fields until they stay, see `_until_kept`.

    Args:
        typed: pairs (Playwright's Locator of a field, str).
        key: str, pressed at the end of each; None: none.
    """

    def type_one(field, text):
        field.fill(text)
        if key:
            field.press(key)

    _until_kept(typed, type_one, lambda field, text: field.input_value() == text)


def turn(switch, on):
    """Turns a check box on or off until it stays so, see `_until_kept`."""
    _until_kept(
        [(switch, on)],
        lambda switch, on: switch.set_checked(on),
        lambda switch, on: switch.is_checked() == on,
    )


def _until_kept(changes, make, is_kept):
    """Makes changes (Locator, value) again until all are kept.

    While Gradio draws a tab or what was folded away, it puts the values of the start over what has
    been done meanwhile.
    """
    lost = changes
    for _ in range(PATIENCE):
        for change in lost:
            make(*change)
        changes[0][0].page.wait_for_timeout(700)
        lost = [change for change in changes if not is_kept(*change)]
        if not lost:
            return
    raise AssertionError(f"the page doesn't keep {[value for _, value in lost]}")


class Visit:
    """A page in a browser of its own: it shares nothing with other visits.

    Args:
        browser: Playwright's Browser.
        url: str.
        size: (width, height) of the window.

    Attributes:
        page: Playwright's Page, loaded.
        complaints: list of str, errors on the console and of scripts.
        foreign: list of str, addresses on other hosts that were asked for.
    """

    def __init__(self, browser, url, size=WIDE):
        self._context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, accept_downloads=True
        )
        self._context.set_default_timeout(PATIENCE * 1000)
        self.complaints, self.foreign = [], []
        self._host = urlsplit(url).netloc
        self.page = self._context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._see)
        self.page.goto(url, wait_until="load")
        self.page.get_by_role("tab", name="Predict").wait_for()

    def _hear(self, message):
        if message.type == "error":
            self.complaints.append(message.text)

    def _see(self, request):
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self._host:
            self.foreign.append(request.url)

    def open_tab(self, name):
        """Opens a tab of the page by its name; returns its panel."""
        self.page.get_by_role("tab", name=name, exact=True).click()
        self.page.get_by_role("tab", name=name, exact=True, selected=True).wait_for()
        return self.page.locator(f"#tab_{name.lower()}")

    def overflow(self):
        """Pixels by which the page is wider than its window."""
        return self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )

    def close(self):
        """Closes the page and its browser context."""
        self._context.close()
