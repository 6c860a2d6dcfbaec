"""What goes wrong, on the page."""

import pytest

pytest.importorskip("gradio", reason="Gradio is not installed")

import gradio

from errors import UserError
from webapp.messages import UNFORESEEN, answering, say


def test_messages_are_text_and_no_markup():
    told = say("<img src=x onerror=alert(1)>", "", "two")
    assert told == (
        '<div class="message told" role="status">'
        "<p>&lt;img src=x onerror=alert(1)&gt;</p><p>two</p></div>"
    )
    assert 'role="alert"' in say("no", failed=True)
    assert say("", "") == ""


def test_an_answer_is_handed_on():
    assert answering(1)(lambda one, two: (one, two))(1, two=2) == (1, 2)


def test_a_mistake_is_told_in_its_own_words():
    @answering(2)
    def fail():
        raise UserError("Found a < b. Do c.")

    message, *others = fail()
    assert message == say("Found a < b. Do c.", failed=True)
    assert others == [gradio.skip(), gradio.skip()]


def test_a_defect_is_told_without_its_traceback(capsys):
    @answering(0)
    def fail():
        raise RuntimeError("/secret/path")

    (message,) = fail()
    assert UNFORESEEN in message
    assert "secret" not in message
    assert "RuntimeError: /secret/path" in capsys.readouterr().err
