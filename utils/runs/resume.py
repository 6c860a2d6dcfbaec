"""Whether an interrupted training can resume with the settings and data of now."""

import hashlib
import math
import os
from pathlib import Path

from errors import UserError
from utils.messages import say

BEST_MIOU = "best_miou_weights"  # of earlier versions, whose best_epoch_weights were by the loss
EPOCH = "epoch"  # what the losses in a run's state are of
# What may change without changing what is learnt, or that only says how long to train.
FREE = {
    "VOCdevkit_path", "train_list", "val_list", "num_workers", "cache_gb", "recompute",
    "init_epoch", "unfreeze_epoch", "early_stopping_patience", "early_stopping_min_delta",
    "imagenet_url", "engine",
    "save_dir", "save_period", "eval_flag", "eval_period", "resume", "time_limit",
    "devices", "folds",
}  # fmt: skip
# What may differ between the machines of a training.
_OF_A_MACHINE = {
    "VOCdevkit_path", "train_list", "val_list", "num_workers", "cache_gb", "save_dir",
    "imagenet_url",
}  # fmt: skip
# What an optimizer that has begun can't take; a phase that begins has a new one.
_OF_A_PHASE = {"freeze_batch_size", "unfreeze_batch_size", "accumulate_steps"}
# What runs of earlier versions did not know, as they went without it.
_ADDED = {
    "time_limit": 0.0, "plan": "off", "val_window": None, "value_range": [], "crops_per_image": 1,
    "early_stopping_min_delta": 0.0, "new_head": False, "engine": "fixed",
    "flip_vertical": 0.0, "quarter_turn": 0.0, "rotation": 0.0, "elastic": 0.0, "rare_crops": 0.0,
    "blur": 0.0, "noise": 0.0, "gamma": 0.0, "contrast": 0.0, "low_resolution": 0.0, "cutout": 0.0,
    "border_weight": 0.0, "border_sigma": 5.0,
}  # fmt: skip


def describe_run(settings, train_samples, val_samples):
    """What a run is made of, for its state: settings, and the images by name.

    Args:
        settings: dict of what JSON can hold.
        train_samples, val_samples: lists of `utils.data.voc.Sample`.
    """
    return {
        "settings": settings,
        "pictures": {"train": _digest(train_samples), "val": _digest(val_samples)},
    }


def update_facts(facts, now):
    """Gives the facts of a run's state what earlier versions did not write.

    Those had fewer settings, and ImageNet weights as the default where "auto" is now.

    Args:
        facts: dict, `utils.runs.state.State.facts`.
        now: `describe_run` of what is asked for, of which values that are missing are taken.

    Returns:
        (facts, note): a dict with all that is written today, and what the user must know, or "".
    """
    added = {name: value for name, value in _ADDED.items() if name in now["settings"]}
    if "start" in facts:
        run = facts["run"]
        return facts | {"run": run | {"settings": added | run["settings"]}}, ""
    settings = now["settings"] | added | facts["run"]["settings"]
    start = settings["model_path"]
    note = (
        "This run began with an earlier version, whose loss was computed from clipped "
        "probabilities instead of logits: it resumes, but ends with other weights than it would "
        "have there."
    )
    if start == "imagenet":
        settings["model_path"] = now["settings"]["model_path"]
        note += (
            " Its ImageNet features have sizes of up to 500, with which it learns worse than with "
            "those of about 1 that a new run starts from (--resume never)."
        )
    return facts | {"run": facts["run"] | {"settings": settings}, "start": start}, note


def update_callbacks(facts):
    """What a run's callbacks knew, {name: state}, of a run of an earlier version too.

    Those knew less, and their validation loss was a mean over batches, with which that of today
    can't be compared: the lowest so far is forgotten, and the user told.

    Args:
        facts: dict, `utils.runs.state.State.facts`.
    """
    states = facts["callbacks"]
    title = states.get("limit", {}).get("phase", "")  # noted of runs with a time limit alone
    phases = {"title": title, "thawed": title == "all layers"}
    states = {"phases": phases, "scoring": {"best": None}} | states
    if facts.get("loss_of") == EPOCH:
        return states
    say(
        "This run began with an earlier version, whose losses were means over batches: now that "
        "of an epoch is computed from all its pixels at once. The lowest val_loss is looked for "
        "anew."
    )
    states["patience"] = {"best": math.inf, "waited": 0}
    states["checkpoints"] = states["checkpoints"] | {"lowest_loss": math.inf}
    return states


def rename_best(folder):
    """Gives the weights of a run that an earlier version began the names of today.

    Args:
        folder: Path of the run. Nothing is done where nothing has a former name.
    """
    names = BEST_MIOU, "best_epoch_weights", "lowest_loss_weights"
    by_miou, best, by_loss = (Path(folder) / f"{name}.weights.h5" for name in names)
    if not by_miou.exists():
        return
    if best.exists():  # or a kill came between the two renames
        os.replace(best, by_loss)
    os.replace(by_miou, best)


def find_changes(before, now, epoch, phase_starts):
    """Lists what has changed in a way that keeps a run from resuming.

    Args:
        before: `describe_run` of the interrupted run.
        now: `describe_run` of what is asked for.
        epoch: int, epochs done.
        phase_starts: epochs (from 0) at which a phase begins, with an optimizer of its own.

    Returns:
        list of texts, such as "num_classes was 21, is 3"; empty: it can resume.
    """
    free = FREE | (_OF_A_PHASE if epoch in phase_starts else set())
    old, new = before["settings"], now["settings"]
    changes = [
        f"{name} was {old.get(name)!r}, is {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if name not in free and old.get(name) != new.get(name)
    ]
    limits = old.get("time_limit", 0.0), new.get("time_limit", 0.0)
    if bool(limits[0]) != bool(limits[1]):  # a longer time is fine, but not epochs instead of time
        changes.append(f"time_limit was {limits[0]:g}, is {limits[1]:g}")
    last = new["unfreeze_epoch"]
    if not limits[1] and epoch >= last != old["unfreeze_epoch"]:
        changes.append(f"unfreeze_epoch is {new['unfreeze_epoch']}, but {epoch} epochs are done")
    for kind, text in (("train", "training"), ("val", "validation")):
        then, count = before["pictures"][kind], now["pictures"][kind]
        if then != count:
            changes.append(
                f"the {text} images have changed (there were {then['count']}, now there are "
                f"{count['count']})"
            )
    return changes


def find_missing(facts):
    """Names what a run can't resume without, of a state that is whole but made otherwise.

    Args:
        facts: dict, `utils.runs.state.State.facts`.

    Returns:
        list of texts, such as "its state lacks description"; empty: all is there.
    """
    wanted = [(name, dict) for name in ("run", "callbacks", "description")] + [("policy", str)]
    wanted += [(f"run/{name}", dict) for name in ("settings", "pictures")]
    wanted += [(f"run/pictures/{name}", dict) for name in ("train", "val")]
    wanted += [(f"callbacks/{name}", dict) for name in ("patience", "checkpoints", "log")]
    wanted += [("callbacks/patience/waited", int)]
    missing = []
    for path, kind in wanted:
        value = facts
        for part in path.split("/"):
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, kind):
            missing.append(f"its state lacks {path}")
    return missing


def wants_more(state, settings):
    """Whether a finished run should be trained on, by the settings of now.

    Args:
        state: `utils.runs.state.State` of the run.
        settings: object with `time_limit`, `unfreeze_epoch` and `early_stopping_patience`.

    Raises:
        UserError: if more epochs or time are asked for, but early stopping has ended the run and
            would do so again.
    """
    before = state.facts["run"]["settings"]
    name = "time_limit" if settings.time_limit else "unfreeze_epoch"
    longer = getattr(settings, name) > before.get(name, 0)
    waited = state.facts["callbacks"]["patience"]["waited"]
    if not 0 < before.get("early_stopping_patience", 0) <= waited:  # it came to its end
        return longer
    if settings.early_stopping_patience == 0 or settings.early_stopping_patience > waited:
        return True
    if longer:
        raise UserError(
            f"A longer {name} alone does not continue the last run: early stopping ended it "
            f"after epoch {state.epoch}, {waited} of them without a lower val_loss. To train it "
            f"on, set early_stopping_patience above {waited}, or to 0; for a new run, resume=never."
        )
    return False


def check_same(runs):
    """Raises UserError unless all processes of a training are to train the same.

    Args:
        runs: list of `describe_run`, one per process.
    """
    first = runs[0]
    for process, run in enumerate(runs):
        changes = [
            f"{name} is {value!r} in process 0, {run['settings'].get(name)!r} in process {process}"
            for name, value in first["settings"].items()
            if name not in _OF_A_MACHINE and run["settings"].get(name) != value
        ]
        if run["pictures"] != first["pictures"]:
            changes.append(f"process {process} has other images than process 0")
        if changes:
            raise UserError(
                f"All processes must train the same, but {'; '.join(changes)}. Start all with "
                "the same settings and data."
            )


def _digest(samples):
    names = "\n".join(sample.name for sample in samples)
    return {"count": len(samples), "names": hashlib.sha256(names.encode()).hexdigest()}
