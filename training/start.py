"""What a training starts from: ImageNet weights, a file, nothing, or where a run stopped."""

from nets.weights.imagenet_files import ImageNetMissingError
from nets.weights.storage import IMAGENET, locate_imagenet
from utils.messages import say
from utils.runs.resume import update_facts

AUTO = "auto"  # as `model_path`
_WIDTH = 64  # of the networks that were trained on ImageNet


def get_start(state, described, model_path, settings):
    """What the network starts from; prints what the user must know of it.

    Args:
        state: `utils.runs.state.State` of a run that resumes, whose start is taken; or None.
        described: what `utils.runs.resume.describe_run` says of the run.
        model_path: str, the setting.
        settings: `training.settings.NetworkSettings`.

    Returns:
        str: a path, "imagenet", or "" for a start from scratch.
    """
    if state:
        facts, note = update_facts(state.facts, described)
        start = facts["start"]
    else:
        start, note = choose_start(
            model_path, settings.backbone, settings.width, settings.imagenet_url
        )
    if note:
        say(note)
    return start


def choose_start(model_path, backbone, width, url=""):
    """Resolves "auto": ImageNet weights where there are any, else from scratch.

    Args:
        model_path: str; any but "auto" is returned as it is.
        backbone: "vgg" or "resnet50".
        width: int, filters of the network's first block.
        url: as for `find_imagenet`.

    Returns:
        (model_path, note): "imagenet" or "" for "auto", and what the user must know, or "".

    Raises:
        UserError: if a mirror is set and does not give the weights.
    """
    if model_path != AUTO:
        return model_path, ""
    if width != _WIDTH:
        reason = f"ImageNet weights are for width {_WIDTH}, and width is {width}."
        return "", _announce_scratch(f"{reason}\nTo begin with them: --width {_WIDTH}")
    try:
        locate_imagenet(backbone, url)
    except ImageNetMissingError as error:
        return "", _announce_scratch(error.ways)
    return IMAGENET, ""


def _announce_scratch(reason):
    rule = "=" * 78
    return (
        f"{rule}\nWARNING: THE NETWORK STARTS FROM SCRATCH, without pretrained weights. It "
        "needs many more\nepochs and images to become as good.\n\n"
        f"{reason}\n\nTo do better: press Ctrl-C, do one of these, and start again with "
        f"--resume never.\n{rule}"
    )
