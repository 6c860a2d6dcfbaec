"""The pictures that a training leaves of its validation images, from TensorBoard's files."""

import os
import struct
from pathlib import Path
from typing import NamedTuple

_HEAD = struct.Struct("<QI")  # a record's length, and a sum of it; behind the record a sum of that
_SUM = 4
_PREFIX = "pictures/"


class Pictures(NamedTuple):
    """What a training drew after one epoch: image, truth and prediction side by side.

    Attributes:
        epoch: int, from 1; 0: there is nothing yet.
        encoded: dict from the images' names to PNG files as bytes.
    """

    epoch: int = 0
    encoded: dict = {}  # noqa: RUF012  # nobody changes it


def newest_pictures(folder):
    """The newest `Pictures` of a run's folder.

    Only what is needed is read: of the files' hundreds of megabytes, the heads of the records and
    the last few of them. TensorBoard's own reader takes all from the start.
    """
    files = sorted(Path(folder).glob("events.out.tfevents.*"), reverse=True)
    return next((found for path in files if (found := _read_newest(path)).encoded), Pictures())


def _read_newest(path):
    from tensorboard.compat.proto.event_pb2 import Event

    epoch, encoded = 0, {}
    with open(path, "rb") as file:
        for start, length in reversed(_find_records(file)):
            file.seek(start)
            event = Event.FromString(file.read(length))
            found = {
                value.tag.removeprefix(_PREFIX): value.image.encoded_image_string
                for value in event.summary.value
                if value.HasField("image") and value.tag.startswith(_PREFIX)
            }
            if encoded and event.step != epoch:
                break
            if found:
                epoch, encoded = event.step, found | encoded
    return Pictures(epoch, encoded)


def _find_records(file):
    """[(start, length)] of the records of a file, of which the last may not be whole yet."""
    size, records = os.fstat(file.fileno()).st_size, []
    position = 0
    while position + _HEAD.size < size:
        file.seek(position)
        length, _ = _HEAD.unpack(file.read(_HEAD.size))
        start = position + _HEAD.size
        position = start + length + _SUM
        if position <= size:
            records.append((start, length))
    return records
