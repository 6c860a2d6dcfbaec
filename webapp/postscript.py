"""What visitors and clients send is never run: PostScript is a program, for which Pillow, where
Ghostscript is installed, would run another.
"""

from errors import UserError

_STARTS = (b"%!PS", b"\xc5\xd0\xd3\xc6")


def refuse_postscript(path):
    """Raises UserError for a file that is PostScript, by its first bytes."""
    with open(path, "rb") as file:
        if file.read(4) in _STARTS:
            raise UserError("PostScript is not read. Save the image as PNG or TIFF.")
