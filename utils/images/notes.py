"""What users must know of the images that a run has read: one note of each kind, with its count."""

from errors import UserError
from utils.images.header import read_header


def notes_on(paths, value_range=None):
    """Looks at the headers of image files.

    Args:
        paths: of the files; those that can't be read are passed over.
        value_range: what the network reads images of more than 8 bits in, as for
            `utils.images.scaling.to_8_bit`.

    Returns:
        list of str.
    """
    several, scaled = [], []
    for path in paths:
        try:
            header = read_header(path)
        except UserError:  # reading it has told
            continue
        if header.has_more:
            several.append(path)
        if header.is_deep and value_range is None:
            scaled.append(path)
    notes = []
    if several:
        notes.append(
            f"{_files(several, 'holds', 'hold')} several images, of which only the first is "
            "segmented. Write each to a file of its own; of an animation, mode=video segments all: "
            f"--mode video --video_path {several[0]}"
        )
    if scaled:
        notes.append(
            f"{_files(scaled, 'has', 'have')} more than 8 bits, of which these weights know no "
            "range: each was scaled by its own kind of numbers (16 bits from 0..65535). Where "
            "results are black or differ from image to image, train again with such images."
        )
    return notes


def _files(paths, one, more):
    if len(paths) == 1:
        return f"{paths[0]} {one}"
    return f"{len(paths):,} images, such as {paths[0]}, {more}"
