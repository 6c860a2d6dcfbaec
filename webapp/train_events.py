"""What the tab "Train" does when something is typed, pressed or a moment has gone by.

Every answer begins with a message, see `webapp.messages.answering`.
"""

import gradio as gr

from errors import UserError
from utils.script import describe_os_error
from webapp import train_processes
from webapp.messages import answering, say
from webapp.train_paths import check_paths
from webapp.train_runs import find_entry, settings_to_resume
from webapp.train_view import PARTS, look


def preview(fields, *shown):
    """(what is wrong with the settings that these fields show, the command line that takes them).

    Args:
        fields: `webapp.setting_fields.SettingFields`.
        shown: what they show.
    """
    try:
        return "", train_processes.describe_command(fields.read(shown))
    except UserError as error:
        return say(str(error), failed=True), "# None: see below."


class Trainings:
    """Trainings in the served folders, for all visitors: they are the machine's.

    Args:
        served: `webapp.served.Served`.
        fields: `webapp.setting_fields.SettingFields` of train.py.
    """

    def __init__(self, served, fields):
        self._served, self._fields = served, fields

    @answering(1)
    def begin(self, *shown):
        """Starts a training with what the fields show; returns its path, to be chosen."""
        return "", self._start(self._fields.read(shown))

    @answering(1)
    def go_on(self, chosen):
        """Resumes a run."""
        entry, output = find_entry(self._served, chosen)
        return "", self._start(*settings_to_resume(entry.path, output))

    def _start(self, config, typed=()):
        check_paths(config, self._served)
        try:
            return str(train_processes.start(config, typed))
        except OSError as error:
            raise UserError(describe_os_error(error)) from None

    @answering(1)
    def end(self, chosen):
        """Stops a run."""
        entry, output = find_entry(self._served, chosen)
        # Of a cross-validation, whose folds are processes of their own, the output is the whole's.
        train_processes.stop(*([output] if output else ()), entry.path)
        return say("It was asked to end, and does as soon as its files are in order."), gr.skip()

    @answering(len(PARTS) + 1)
    def follow(self, chosen, seen):
        """Shows what has changed of a run since `seen`, as the last answer says."""
        parts = look(self._served, chosen).parts()
        updates = [
            gr.skip() if seen.get(name) == key else make() for name, (key, make) in parts.items()
        ]
        return gr.skip(), *updates, {name: key for name, (key, _) in parts.items()}
