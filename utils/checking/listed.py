"""Lists against the dataset: lines that name no image with a mask, and why."""

from typing import NamedTuple

from utils.data.lists import Names
from utils.data.voc import image_extensions, index_folder, voc_folder
from utils.files import name_key

_TRAINED = ("train", "val")  # how the names of lists that a training reads begin


class _Group(NamedTuple):
    """Lines of a list with one kind of fault: the first of them, and all of them."""

    fault: object
    lines: list


def match_lists(VOCdevkit_path, lists, samples):
    """Finds the samples that lists name.

    Args:
        VOCdevkit_path: str or Path.
        lists: dict from a list's name to its lines.
        samples: list of `utils.data.voc.Sample`, all that the dataset has.

    Returns:
        (dict from a list's name to names of samples, list of (problem kind, detail, count) of
        `utils.checking.problems.PROBLEMS`). Lists that name no sample at all are not among the
        former. Those whose names don't begin with train or val may name images without a mask.
    """
    names = {name_key(sample.name): sample.name for sample in samples}
    images = Names(index_folder(voc_folder(VOCdevkit_path) / "JPEGImages", image_extensions(), []))
    matched, problems = {}, []
    for split, lines in lists.items():
        keys = [images.find(line) for line in lines]
        if found := [names[key] for key in keys if key in names]:
            matched[split] = found
        trained = split.startswith(_TRAINED)
        wrong = [line for line, key in zip(lines, keys, strict=True) if key is None]
        problems += _unknown(split, wrong, len(lines), images, trained)
        bare = [key for key in keys if key is not None and key not in names]
        if bare and trained:
            detail = f"{split}.txt: {len(bare):,} of {len(lines):,} lines, such as {bare[0]!r}"
            problems.append(("listed_without_mask", detail, len(bare)))
    return matched, problems


def _unknown(split, lines, total, images, trained):
    """Problems of lines that name no image, one for each kind of fault."""
    groups = {}
    for line in lines:
        fault = images.fault(line, similar=False)
        groups.setdefault(fault.kind, _Group(fault, [])).lines.append(line)
    for fault, found in groups.values():
        first, count = found[0], len(found)
        if fault.kind == "unknown":
            fault = images.fault(first)
        yield (
            "listed_without_image" if trained else "other_list_without_image",
            f"{split}.txt: {count:,} of {total:,} lines, such as {first.strip()!r}. {fault.advice}",
            count,
        )
