"""What goes wrong, as one message on the page, in place of Gradio's "Error" on each component."""

import functools
import html
import traceback

import gradio as gr

from errors import RunError, UserError

UNFORESEEN = (
    "This did not work, for a reason that the program did not foresee; the terminal in which "
    "app.py runs says more."
)


def say(*texts, failed=False):
    """HTML of messages, one a line; "" for none.

    Args:
        texts: str, plain text.
        failed: bool, whether they tell of something that did not work.
    """
    kind, role = ("failed", "alert") if failed else ("told", "status")
    lines = "".join(f"<p>{html.escape(text)}</p>" for text in texts if text)
    return f'<div class="message {kind}" role="{role}">{lines}</div>' if lines else ""


def answering(others):
    """Makes of a function one for events, whose first output is a message.

    What it returns is handed on. If it raises, the message says so and the other outputs stay as
    they are: for a UserError with its own words, for a defect without its traceback, which is
    printed.

    Args:
        others: int, outputs besides the message.
    """

    def decorate(function):
        @functools.wraps(function)
        def answer(*args, **kwargs):
            try:
                return function(*args, **kwargs)
            except (UserError, RunError) as error:
                text = str(error)
            except Exception:
                traceback.print_exc()
                text = UNFORESEEN
            return (say(text, failed=True), *[gr.skip() for _ in range(others)])

        return answer

    return decorate
