"""The pages that name settings name those that there are."""

import ast
import dataclasses
import re

import pytest
from pages import CONFIGS, PAGES, ROOT, find_spans, read

from errors import UserError
from utils.config import load_config

# Options that the page names for what is said about them: what says so.
ANSWERED = {
    "--Init_lr": None,  # taken
    "--epochs": "unfreeze_epoch",
    "--lr": "init_lr",
    "--gpu": "devices",
    "--pretrained": "model_path",
}
ARTICLE = "docs/article.md"
_ROW = re.compile(r"^\|(.*?)(?<!\\)\|", re.MULTILINE)
_NEW_LINE = re.compile(r"(\w+): ([\w\[\], .|]+) = (.+)")


def test_the_page_of_settings_has_those_of_train_py():
    named = [name for cell in _ROW.findall(read("docs/settings.md")) for name in find_spans(cell)]
    assert len(named) == len(set(named))
    fields = {field.name for field in dataclasses.fields(CONFIGS["train"])}
    assert set(named) == fields


@pytest.mark.parametrize("page", PAGES)
def test_options_within_sentences_are_settings(page):
    """Commands as a whole are for test_commands."""
    known = {field.name for config in CONFIGS.values() for field in dataclasses.fields(config)}
    for path in (ROOT / "benchmarks").glob("*.py"):
        known |= set(
            re.findall(r"^    (\w+): .+ = ", path.read_text(encoding="utf-8"), re.MULTILINE)
        )
    known |= {f"no-{name}" for name in known} | {"help"}
    named = [span for span in find_spans(read(page)) if re.match(r"--\w", span)]
    options = {word for span in named for word in re.findall(r"--([\w-]+)", span)}
    if page.endswith("article.md"):
        assert {word.removeprefix("--") for word in ANSWERED} <= options
        options -= {word.removeprefix("--") for word in ANSWERED}
    assert options <= known


@pytest.mark.parametrize("option", ANSWERED)
def test_old_names_are_answered_as_the_article_s_page_says(option):
    if ANSWERED[option] is None:
        assert load_config(CONFIGS["train"], [option, "1e-3"]).init_lr == 1e-3
        return
    with pytest.raises(UserError, match=rf"\b{ANSWERED[option]}\b"):
        load_config(CONFIGS["train"], [option, "1"])


def test_new_lines_of_the_article_s_settings_are_right():
    """`name: type = value` is a setting of that type, and takes that value."""
    lines = [match for span in find_spans(read(ARTICLE)) if (match := _NEW_LINE.fullmatch(span))]
    assert len(lines) > 40
    for match in lines:
        name, kind, value = match.groups()
        owners = [
            config
            for config in CONFIGS.values()
            for field in dataclasses.fields(config)
            if field.name == name and _name_of(field.type) == kind
        ]
        assert owners, match[0]
        for config in owners:
            config(**{name: ast.literal_eval(value)})


def _name_of(kind):
    return kind.__name__ if isinstance(kind, type) else str(kind)
