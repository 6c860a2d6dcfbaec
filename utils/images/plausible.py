"""Files that promise what they can't hold, or are made of so many parts that reading takes minutes.

What is found here is provably no whole image, or none that any program writes; it is refused before
a decoder takes memory and time for it.
"""

import os
import struct

_MOST_SEGMENTS = 10_000  # of a JPEG before its pixels; ICC profiles and XMP take some hundreds
_MOST_FILL = 10_000  # fill bytes, all together
MOST_PIXELS = 512  # of a byte of a JPEG: at least one bit for each block of 8x8 of each colour
_DEFLATE = 1100  # bytes that a byte can hold: deflate makes at most 1032 of one
_LZW = 3000  # strings of a code of 12 bits are shorter than 4096 bytes
_MOST_CHUNKS, _SMALL = 10_000, 1000  # of a PNG, unless they hold so many bytes on average
_PNG_START = b"\x89PNG\r\n\x1a\n"
_FRAMES = (0xC0, 0xC1, 0xC2)  # markers of frames with Huffman codes: baseline to progressive
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)  # of those from 0xC0 to 0xCF
# Compressions of TIFF whose files can't be smaller than a share of what they hold.
_TIGHTEST = {1: 1, 5: _LZW, 8: _DEFLATE, 32946: _DEFLATE, 32773: 128}
_BITS, _SAMPLES, _COMPRESSION = 258, 277, 259  # tags


def check_file(path, start, max_pixels):
    """Raises ValueError for a JPEG or PNG file that can't be whole or sane.

    Of one with more than `max_pixels`, which is refused for that, its size is not judged.

    Args:
        path: of the file.
        start: its first 12 bytes.
        max_pixels: int.
    """
    if start.startswith(b"\xff\xd8"):
        with open(path, "rb") as file:
            _check_jpeg(file, max_pixels)
    elif start.startswith(_PNG_START):
        with open(path, "rb") as file:
            _check_png(file, max_pixels)


def check_tiff(image, path, max_pixels):
    """Raises ValueError if the file of an opened TIFF can't hold its pixels; as `check_file`."""
    tightest = _TIGHTEST.get(image.tag_v2.get(_COMPRESSION, 1))
    if tightest and image.width * image.height <= max_pixels:
        bits = max(image.tag_v2.get(_BITS, (1,))) * image.tag_v2.get(_SAMPLES, 1)
        _check_size(image.width * image.height * bits // 8, os.path.getsize(path) * tightest)


def _check_size(promised, possible):
    if promised > possible:
        raise ValueError("the file is not whole: it is too small for what it says it holds.")


def _check_jpeg(file, max_pixels):
    """Walks over the segments before the pixels."""
    size = file.seek(0, os.SEEK_END)
    file.seek(2)
    fill = 0
    for _ in range(_MOST_SEGMENTS):
        if file.read(1) != b"\xff":
            return  # broken, or beyond what is understood here: the decoder says
        while (marker := file.read(1)) == b"\xff":
            fill += 1
            if fill > _MOST_FILL:
                raise ValueError("it consists of fill bytes.")
        if not marker or marker == b"\xda":  # the pixels begin
            return
        length = int.from_bytes(file.read(2), "big")
        if 0xC0 <= marker[0] <= 0xCF and marker[0] not in _NOT_FRAMES:
            _, height, width = struct.unpack(">BHH", file.read(5).ljust(5, b"\0"))
            if marker[0] in _FRAMES and width * height <= max_pixels:
                _check_size(width * height, size * MOST_PIXELS)
            length -= 5
        file.seek(max(length - 2, 0), os.SEEK_CUR)
    raise ValueError(f"it has more than {_MOST_SEGMENTS:,} segments before its pixels.")


def _check_png(file, max_pixels):
    """Compares what the header promises with the file, and counts its chunks."""
    size = file.seek(0, os.SEEK_END)
    file.seek(16)
    head = file.read(10)
    if len(head) < 10:
        return
    width, height, depth, kind = struct.unpack(">IIBB", head)
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(kind, 1)
    if width * height <= max_pixels:
        _check_size(width * height * depth * samples // 8, size * _DEFLATE)
    file.seek(len(_PNG_START))
    count = 0
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        count += 1
        file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)  # the checksum too
        if count % _MOST_CHUNKS == 0 and file.tell() < count * _SMALL:
            raise ValueError(f"it has more than {count:,} chunks of a few bytes each.")
