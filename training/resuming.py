"""Whether an interrupted run of train.py goes on: its settings and images against those of now.

Needs no Keras. `config` is the settings of train.py here.
"""

import dataclasses
import json

from training.settings import set_by_user
from utils.config import typed_settings
from utils.runs.folder import open_run
from utils.runs.resume import find_changes, find_missing, update_facts, wants_more


def to_json(config):
    """The settings as JSON gives them back: tuples are lists."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def open_or_resume(config, described):
    """The folder of this run: a new one, or that of an interrupted run with the same settings.

    Args:
        config: the settings.
        described: `utils.runs.resume.describe_run` of them and the images.

    Returns:
        `utils.runs.folder.Run`.

    Raises:
        UserError: as `utils.runs.folder.open_run`.
    """
    return open_run(
        config.save_dir,
        config.resume,
        lambda state: changes_since(state, config, described),
        lambda state: wants_more(state, config),
    )


def stored_plan(facts, config):
    """What the plan of a run chose, {name: value}, but for what is set otherwise by now.

    Args:
        facts: dict, of the run's state.
        config: the settings.
    """
    mine = set_by_user(config, typed_settings(config))
    return {name: value for name, value in facts.get("plan", {}).items() if name not in mine}


def changes_since(state, config, described):
    """Lists what keeps a run from resuming, as `utils.runs.resume.find_changes` does.

    Args:
        state: `utils.runs.state.State` of the run.
        config, described: as for `open_or_resume`.
    """
    if missing := find_missing(state.facts):
        return missing
    facts, _ = update_facts(state.facts, described)
    planned = dataclasses.replace(config, **stored_plan(facts, config))
    starts = [phase.first_epoch for phase in planned.parts.phases.plan(facts["start"])]
    return find_changes(facts["run"], described, state.epoch, starts)
