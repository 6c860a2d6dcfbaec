"""Label Studio's brush masks as PNG: `task-12-annotation-34-by-1-tag-Car-0.png`.

Each holds a brush's opacity; all but 0 is inside, as in Label Studio's own COCO. The names say the
task, not the image, so that the images must carry the number of the task in theirs: `12.jpg` or
`task-12.jpg`, in image_dir or beside the masks.

Source: label-studio-converter, label_studio_converter/brush.py.
"""

import re

from errors import UserError
from utils.convert.annotations import clean_label
from utils.convert.layers import Layered, order_labels, scan_layers
from utils.convert.mask_files import image_files, show_some
from utils.convert.scan import Skips
from utils.convert.source import Source

# task, annotation, annotator (letters, digits, @ and . only), the control's name, label, number
_NAME = re.compile(r"task-(\d+)-annotation-(\d+)-by-([^-]*)-([^-]+)-(.+)-(\d+)", re.ASCII)
_IMAGE = re.compile(r"(?:task)?[-_ ]?(\d+)", re.ASCII | re.IGNORECASE)


def guess_label_studio_masks(source):
    """What tells that the masks are Label Studio's; see `utils.convert.scan.Format`."""
    first = next(iter(_find_masks(source)), None)
    return f"the name {source.show(first)}" if first else None


def _find_masks(source):
    return [path for path in source.having(".png") if _NAME.fullmatch(path.stem)]


def scan_label_studio_masks(source, options):
    """Pairs masks and images by task; see `utils.convert.scan.Format`. All masks are read."""
    masks = _find_masks(source)
    if not masks:
        raise UserError(
            f"{source.path} holds no masks such as task-12-annotation-34-by-1-tag-Car-0.png. "
            "Set annotations to the unpacked export 'Brush labels to PNG'."
        )
    skips = Skips(options.strict)
    tasks = {}  # {task: {annotation: [(label, path)]}}
    for path in masks:
        task, annotation, _, _, label, _ = _NAME.fullmatch(path.stem).groups()
        found = tasks.setdefault(_number(task), {})
        found.setdefault(_number(annotation), []).append((label, path))
    images = _find_images(source, options.finder.image_dir, masks)
    if not tasks.keys() & images.keys():
        raise _no_images(source, options.finder.image_dir, tasks)
    layered = []
    for task, annotations in sorted(tasks.items(), key=lambda item: int(item[0])):
        with skips.catching(next(iter(annotations.values()))[0][1]):
            layered.append(_join(task, annotations, images))
    labels = order_labels({label for one in layered for label, _ in one.layers}, options)
    scan = scan_layers(layered, labels, skips, any_value=True)
    alone = [paths[0] for task, paths in images.items() if task not in tasks]
    if alone:
        scan.notes.append(f"{len(alone)} images have no mask and are left out, such as {alone[0]}.")
    return scan


def _number(digits):
    return digits.lstrip("0") or "0"


def _find_images(source, image_dir, masks):
    """{task: [Path]} of the images whose name is the number of a task."""
    taken = set(masks)
    files = image_files(Source(image_dir).files if image_dir else source.files)
    found = {}
    for path in files:
        match = _IMAGE.fullmatch(path.stem)
        if match and path not in taken:
            found.setdefault(_number(match[1]), []).append(path)
    return found


def _join(task, annotations, images):
    """A Layered of the only annotation of a task and its only image."""
    first = next(iter(annotations.values()))[0][1]
    if task not in images:
        raise UserError(f"{first} belongs to no image: there is no {task}.jpg or task-{task}.jpg.")
    if len(images[task]) > 1:
        raise UserError(
            f"The task {task} has {len(images[task])} images, {show_some(images[task])}. Which "
            "counts? Remove the others."
        )
    if len(annotations) > 1:
        raise UserError(
            f"The task {task} has {len(annotations)} annotations, {show_some([*annotations])}, "
            f"such as {first}. Which counts? Remove the files of the others."
        )
    (layers,) = annotations.values()
    layers = [(clean_label(label, str(path)), path) for label, path in layers]
    return Layered(images[task][0], layers)


def _no_images(source, image_dir, tasks):
    task = min(tasks, key=int)
    return UserError(
        f"No image in {image_dir or source.path} carries the number of a task, such as "
        f"{task}.jpg or task-{task}.jpg. Label Studio's PNG names say nothing else about the "
        "image. Rename the images by their tasks and set image_dir to them, or export JSON or "
        "COCO, which name the images."
    )
