"""The pages that users read: their code blocks, commands, links and headings."""

import re
import shlex
import textwrap
from pathlib import Path
from typing import NamedTuple

import app
import demo
import get_miou
import json_to_dataset
import predict
import summary
import train
import voc_annotation

ROOT = Path(train.__file__).parent
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = {
    str(path.relative_to(ROOT)): path
    for path in (ROOT / "README.md", ROOT / "README.zh-CN.md", *DOCS, *ROOT.glob("benchmarks/*.md"))
}
CONFIGS = {
    "voc_annotation": voc_annotation.AnnotationConfig,
    "train": train.TrainConfig,
    "predict": predict.PredictConfig,
    "get_miou": get_miou.MiouConfig,
    "demo": demo.DemoConfig,
    "json_to_dataset": json_to_dataset.ConvertConfig,
    "summary": summary.SummaryConfig,
    "app": app.AppConfig,
}
MAINS = {
    module.__name__: module.main
    for module in (voc_annotation, train, predict, get_miou, demo, json_to_dataset, summary, app)
}
# unet-keras COMMAND, which `pip install .` brings, runs a script.
_INSTALLED = {
    "check": "voc_annotation", "convert": "json_to_dataset", "train": "train", "predict": "predict",
    "evaluate": "get_miou", "summary": "summary", "demo": "demo", "app": "app",
}  # fmt: skip
_PROGRAMS = ("python", "pip", "tensorboard", "labelme", "export", "unet-keras", "mypy")
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


class Command(NamedTuple):
    """A command that a page tells its readers to type.

    Attributes:
        text: as it stands there.
        block: int, the number of its code block on the page; None: it stands within a sentence.
    """

    text: str
    block: int | None

    @property
    def words(self):
        """list of str, as a shell takes the command apart."""
        return shlex.split(self.text, comments=True)

    @property
    def script(self):
        """Name of the project's script that it runs; None: it runs something else."""
        words = self.words
        if len(words) > 1 and words[0] == "unet-keras":
            return _INSTALLED[words[1]]
        if len(words) < 2 or words[0] != "python" or not words[1].endswith(".py"):
            return None
        return words[1].removesuffix(".py")

    @property
    def settings(self):
        """list of str, what follows the script's name."""
        return self.words[2:]


def read(name):
    """The text of a page."""
    return PAGES[name].read_text(encoding="utf-8")


def find_blocks(text):
    """[(language, text)] of the code blocks of a page, in order."""
    return [(found[2], textwrap.dedent(found[3])) for found in _FENCE.finditer(text)]


def without_blocks(text):
    """A page without its code blocks."""
    return _FENCE.sub("", text)


def find_spans(text):
    """What stands between backticks in the sentences and tables of a page, in order."""
    spans = _SPAN.findall(without_blocks(text))
    return [" ".join(span.replace("\\|", "|").split()) for span in spans]


def find_commands(text):
    """list of Command: those of blocks that a shell takes, then those within sentences."""
    found = []
    for number, (language, block) in enumerate(find_blocks(text)):
        if language in ("", "sh"):
            lines = (line for line in block.splitlines() if line.strip())
            found += [Command(part, number) for line in lines for part in line.split(" && ")]
    spans = find_spans(text)
    found += [
        Command(part, None)
        for span in spans
        if " " in span and span.split()[0] in _PROGRAMS
        for part in span.split(" && ")
    ]
    return found


def find_links(text):
    """The targets of the links and pictures of a page, in order."""
    return re.findall(r"\]\(([^)\s]+)\)", without_blocks(text))


def find_anchors(text):
    """The names by which the headings of a page are linked to, as GitHub makes them."""
    anchors = []
    for heading in re.findall(r"^#+ +(.+?) *$", without_blocks(text), re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        again = re.compile(rf"{re.escape(name)}(-\d+)?")
        same = sum(again.fullmatch(anchor) is not None for anchor in anchors)
        anchors.append(f"{name}-{same}" if same else name)
    return anchors
