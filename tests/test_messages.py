"""What rooms say: printed by scripts, left to `logging` in other programs."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from utils import messages

ROOT = Path(messages.__file__).parent.parent


def run(*lines):
    """(standard output, standard error) of a program of these lines."""
    program = "\n".join(("import logging", "from utils.messages import *", *lines))
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr


SPEAK = ("say('at work')", "note('look out')")


def test_a_library_shows_notes_alone():
    assert run(*SPEAK) == ("", "look out\n")


def test_a_program_decides_what_becomes_of_them():
    config = "logging.basicConfig(level=logging.INFO, format='%(name)s %(levelname)s %(message)s')"
    lines = "unet_keras INFO at work\nunet_keras WARNING look out\n"
    assert run(config, *SPEAK) == ("", lines)


def test_a_program_can_silence_them():
    assert run("logging.getLogger('unet_keras').setLevel(logging.ERROR)", *SPEAK) == ("", "")


def test_the_settings_of_a_script_have_them_printed_once():
    lines = ("from predict import PredictConfig", "PredictConfig()", "PredictConfig()", *SPEAK)
    assert run(*lines) == ("at work\n", "note: look out\n")


def test_a_script_prints_them_once_whatever_handlers_libraries_have():
    lines = (
        "from utils.script import run_script",
        "logging.basicConfig(level=logging.INFO)",
        f"run_script(lambda: [{', '.join(SPEAK)}])",
    )
    assert run(*lines) == ("at work\n", "note: look out\n")


def test_a_script_is_told_from_a_program_that_uses_one():
    program = ("print_messages()", "print(in_script())", "print_messages(alone=True)")
    assert run(*program, "print(in_script())") == ("False\nTrue\n", "")


def test_a_level_that_was_set_stays():
    lines = ("logging.getLogger('unet_keras').setLevel(logging.WARNING)", "print_messages()")
    assert run(*lines, *SPEAK) == ("", "note: look out\n")


def test_they_are_printed_where_standard_output_is_by_then(capsys):
    messages.say({"of": "any type"})
    messages.note("100%")  # no format
    assert capsys.readouterr() == ("{'of': 'any type'}\n", "note: 100%\n")


@pytest.mark.parametrize(("speak", "level"), [("say", "INFO"), ("note", "WARNING")])
def test_the_logger_has_one_name_for_all_rooms(caplog, speak, level):
    getattr(messages, speak)("a")
    with caplog.at_level(logging.INFO, "unet_keras"):
        getattr(messages, speak)("b")
    found = [(one.name, one.levelname, one.getMessage()) for one in caplog.records]
    assert found[-1] == ("unet_keras", level, "b")
