"""Pieces of HTML for the page: texts of strangers made harmless, and small images."""

from html import escape

from PIL import Image

from utils.evaluation.gallery import data_uri
from utils.images.transforms import letterbox_box, resize_image, resize_mask
from utils.labels import void_white_palette
from utils.terminal import escape_controls

LOOK = """
.verdict { font-size: 1.15em; font-weight: 600; margin: 4px 0 8px }
.dim { opacity: .75 }
.wide { overflow-x: auto; margin-bottom: 14px }
table, tr, th, td { border: 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: auto }
tr { border-bottom: 1px solid var(--border-color-primary) }
th, td { padding: 3px 14px 3px 0; text-align: right; white-space: nowrap }
th:first-child, td:first-child, .words { text-align: left; white-space: normal }
td:first-child, .words { overflow-wrap: anywhere }
.swatch { display: inline-block; width: 12px; height: 12px; border: 1px solid #888;
  border-radius: 3px; margin-right: 6px; vertical-align: -1px }
.card { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 10px 14px;
  margin: 10px 0; background: var(--background-fill-secondary); overflow-wrap: anywhere }
.card h4 { margin: 0 0 4px; font-size: 1em }
.card ul { margin: 4px 0; padding-left: 20px; list-style: disc }
.tag { border-radius: 4px; padding: 1px 7px; margin-right: 6px; color: #fff; background: #6b7680;
  font-size: .85em; font-weight: 600 }
.fatal .tag { background: #c8005a }
.shots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(170px, 45%), 1fr));
  gap: 10px; margin-top: 8px }
.shots figure { margin: 0 }
.shots img { display: block; max-width: 100%; border: 1px solid var(--border-color-primary) }
.sharp { image-rendering: pixelated }
.shots figcaption { font-size: .8em; line-height: 1.3; margin-top: 3px }
.rows figure { margin: 0 0 14px } .rows figcaption { font-weight: 600; margin-bottom: 4px }
.three { display: grid; grid-template-columns: repeat(3, minmax(0, 260px)); gap: 8px }
.three img { width: 100%; border: 1px solid var(--border-color-primary) }
.three div { font-size: .8em; text-align: center }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85em; line-height: 1.45 }
summary { cursor: pointer; margin: 8px 0 }
"""  # for gr.HTML(css_template=...), which keeps it to that component


def clean(text):
    """A text of whatever source as HTML; bytes that are no text, and control codes, are shown."""
    text = str(text).encode("utf-8", "backslashreplace").decode()
    return escape("\n".join(map(escape_controls, text.split("\n"))))


def image_uri(pixels, side):
    """An image, uint8 (H, W, 3), no larger than `side`, as a data: URI."""
    return _uri(resize_image(pixels, _fit(pixels.shape[:2], side)), "JPEG")


def mask_uri(ids, side):
    """A mask of class ids, uint8 (H, W), in the classes' colours, as a data: URI."""
    return _uri(void_white_palette()[resize_mask(ids, _fit(ids.shape, side))], "PNG")


def _fit(size, side):
    box = letterbox_box(size, (side, side))
    return min((box.height, box.width), size)  # what is small stays as it is


def _uri(pixels, kind):
    return data_uri(Image.fromarray(pixels), kind)
