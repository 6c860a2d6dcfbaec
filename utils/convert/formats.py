"""The formats of annotations that json_to_dataset.py knows, and which one the files have.

To add one: a module with a guess and a scan (`utils.convert.scan`), and an entry here.
"""

from errors import UserError, check_choice
from utils.convert.cityscapes import guess_cityscapes, scan_cityscapes
from utils.convert.class_masks import guess_class_masks, scan_class_masks
from utils.convert.coco import guess_coco, scan_coco_files
from utils.convert.coco_panoptic import guess_panoptic, scan_panoptic_files
from utils.convert.cvat import guess_cvat, scan_cvat_files
from utils.convert.cvat_masks import guess_cvat_masks, scan_cvat_masks
from utils.convert.label_studio import guess_label_studio, scan_label_studio_files
from utils.convert.label_studio_masks import guess_label_studio_masks, scan_label_studio_masks
from utils.convert.labelme import guess_labelme, scan_labelme_files
from utils.convert.paired_masks import guess_paired_masks, scan_paired_masks
from utils.convert.scan import Format
from utils.convert.supervisely import guess_supervisely, scan_supervisely_files
from utils.convert.via import guess_via, scan_via_files
from utils.convert.yolo import guess_yolo, scan_yolo

FORMATS = (
    Format(
        "labelme",
        "labelme",
        "a JSON file per image, with 'shapes'",
        guess_labelme,
        scan_labelme_files,
    ),
    Format(
        "coco",
        "COCO instances",
        "JSON with 'images', 'annotations' and 'categories'",
        guess_coco,
        scan_coco_files,
    ),
    Format(
        "coco_panoptic",
        "COCO panoptic",
        "JSON with 'segments_info', and a folder of its name with PNG files",
        guess_panoptic,
        scan_panoptic_files,
    ),
    Format(
        "cvat",
        "CVAT for images",
        "an XML file with <annotations>, version 1.1",
        guess_cvat,
        scan_cvat_files,
    ),
    Format(
        "label_studio",
        "Label Studio",
        "the export named JSON, a list of tasks with 'data' and 'annotations'",
        guess_label_studio,
        scan_label_studio_files,
    ),
    Format(
        "supervisely",
        "Supervisely",
        "a folder ann/ of JSON files with 'objects' and 'size', beside img/",
        guess_supervisely,
        scan_supervisely_files,
    ),
    Format(
        "via",
        "VGG Image Annotator",
        "a project of VIA 2 or its annotations as JSON, with 'filename' and 'regions'",
        guess_via,
        scan_via_files,
    ),
    Format(
        "cvat_masks",
        "CVAT segmentation masks",
        "labelmap.txt beside SegmentationClass/ and JPEGImages/",
        guess_cvat_masks,
        scan_cvat_masks,
    ),
    Format(
        "yolo",
        "YOLO segmentation",
        "data.yaml or classes.txt, images/ and labels/ with text files",
        guess_yolo,
        scan_yolo,
    ),
    Format(
        "image_masks",
        "images and masks in folders",
        "images/ beside masks/, whose names pair by a rule",
        guess_paired_masks,
        scan_paired_masks,
    ),
    Format(
        "class_masks",
        "a mask for each class",
        "images/ beside masks/<class>/, or masks/<image>_<class>.png",
        guess_class_masks,
        scan_class_masks,
    ),
    Format(
        "cityscapes",
        "Cityscapes",
        "gtFine/ with *_gtFine_labelIds.png, and leftImg8bit/",
        guess_cityscapes,
        scan_cityscapes,
    ),
    Format(
        "label_studio_masks",
        "Label Studio brush masks",
        "task-12-annotation-34-by-1-tag-Car-0.png, and images with the task's number",
        guess_label_studio_masks,
        scan_label_studio_masks,
    ),
)
CHOICES = ("auto", *(one.name for one in FORMATS))


def check_format(name):
    """Raises UserError for a name that is neither a format's nor auto."""
    check_choice("format", name, CHOICES)


def choose_format(source, name="auto"):
    """The format of the files.

    Args:
        source: Source.
        name: one of CHOICES; auto: by the content.

    Returns:
        (Format, str: a sentence on which it is and what tells).

    Raises:
        UserError: if the content is of no format, or might be of several.
    """
    if name != "auto":
        (chosen,) = (one for one in FORMATS if one.name == name)
        return chosen, f"Format: {chosen.title}, as the setting format says."
    guesses = [(one, why) for one in FORMATS if (why := one.guess(source))]
    if not guesses:
        raise _unknown(source)
    if len(guesses) > 1:
        found = "; ".join(f"{one.title}, from {why}" for one, why in guesses)
        names = " or ".join(one.name for one, _ in guesses)
        raise UserError(
            f"{source.path} may be of {len(guesses)} formats: {found}. Set annotations to the "
            f"files of one of them, or format to {names}."
        )
    ((chosen, why),) = guesses
    return chosen, f"Format: {chosen.title}, from {why}."


def _unknown(source):
    unreadable = [path for path in source.having(".json") if path not in source.outlines]
    if unreadable and not source.outlines:
        source.read(unreadable[0])  # raises the UserError that says why
    archives = source.having(".zip", ".tar", ".gz", ".7z", ".rar")
    if archives:
        return UserError(
            f"{archives[0]} is an archive. Unpack it and set annotations to its folder."
        )
    known = "\n".join(f"  {one.name}: {one.title}, {one.content}" for one in FORMATS)
    return UserError(
        f"{source.path} holds annotations of no known format. Known are:\n{known}\n"
        "Export it as one of these; if it is one, set format to its name, and the message says "
        "what is missing."
    )
