"""One run as the page shows it, read anew at each look."""

import io
import math
from functools import partial
from typing import NamedTuple

import gradio as gr
import pandas as pd
from PIL import Image

from webapp.served import Served
from webapp.train_pictures import Pictures, newest_pictures
from webapp.train_processes import find_processes
from webapp.train_runs import (
    CURVES,
    can_resume,
    describe,
    find_output,
    list_entries,
    read_history,
    read_tail,
    select,
)

PARTS = ("runs", "stop", "resume", "status", *CURVES, "pictures", "output")


class View(NamedTuple):
    """A training, and which others there are.

    Attributes:
        choices: tuple of (label, path as str), all trainings.
        chosen: str, the path of this one; None: there is none.
        status: str, how far it is.
        running, resumable: bool.
        rows: list of dict, its history.
        pictures: `webapp.train_pictures.Pictures`.
        output: str, the end of what it printed.
    """

    choices: tuple = ()
    chosen: str | None = None
    status: str = "No training yet."
    running: bool = False
    resumable: bool = False
    rows: list = []  # noqa: RUF012  # nobody changes it
    pictures: Pictures = Pictures()
    output: str = ""

    def parts(self):
        """{one of `PARTS`: (what it is made of, callable that gives what its component shows)}."""
        keys = {
            "runs": (self.choices, self.chosen),
            "stop": self.running,
            "resume": self.resumable,
            "status": self.status,
            **dict.fromkeys(CURVES, (self.chosen, len(self.rows))),
            "pictures": (self.chosen, self.pictures.epoch),
            "output": self.output,
        }
        makers = {
            "runs": partial(gr.update, choices=list(self.choices), value=self.chosen),
            "stop": partial(gr.update, interactive=self.running),
            "resume": partial(gr.update, interactive=self.resumable),
            "status": partial(gr.update, value=self.status),
            **{title: partial(self.curves, title) for title in CURVES},
            "pictures": self.gallery,
            "output": partial(gr.update, value=self.output, visible=bool(self.output)),
        }
        return {name: (keys[name], makers[name]) for name in PARTS}

    def frame(self, title):
        """pandas.DataFrame of the curves under one title of `CURVES`: epoch, value, of.

        A curve without a value has one row of NaN: the chart takes no new curve later on.
        """
        points = []
        for of, name in CURVES[title].items():
            known = [row for row in self.rows if not math.isnan(row[name])]
            points += [(row["epoch"], row[name], of) for row in known or self.rows[:1]]
        return pd.DataFrame(points, columns=["epoch", "value", "of"])

    def curves(self, title):
        """The update of a chart, which is hidden before the first epoch is done."""
        return gr.update(value=self.frame(title), visible=bool(self.rows))

    def gallery(self):
        """The update of the pictures, hidden before there are any."""
        pictures = [
            (Image.open(io.BytesIO(png)), f"{name}, epoch {self.pictures.epoch}")
            for name, png in self.pictures.encoded.items()
        ]
        return gr.update(value=pictures, visible=bool(pictures))


def look(served: Served, chosen: str | None) -> View:
    """The View of a training; of the first one where `chosen` names none."""
    entries = list_entries(served, find_processes())
    if not entries:
        return View()
    entry = select(served, entries, chosen) or entries[0]
    choices = tuple(
        (f"{one.path}{' (running)' if one.running else ''}", str(one.path)) for one in entries
    )
    is_run = entry.path.is_dir()
    output = find_output(entry.path) if is_run else entry.path
    return View(
        choices,
        str(entry.path),
        describe(entry, output),
        entry.running,
        can_resume(entry),
        read_history(entry.path) if is_run else [],
        newest_pictures(entry.path) if is_run else Pictures(),
        read_tail(output) if output else "",
    )
