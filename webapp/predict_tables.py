"""What is in a predicted image, in numbers: shares of the classes, and regions."""

import csv
import html

from utils.prediction.draw import pixels_of_values
from webapp.predict_draw import format_color

MOST_REGIONS = 500  # rows on the page; the file holds all
_COLUMNS = {
    "class": "class",
    "region": "region",
    "area_px": "area (px)",
    "centroid_x_px": "x (px)",
    "centroid_y_px": "y (px)",
    "width_px": "width (px)",
    "height_px": "height (px)",
    "perimeter_px": "perimeter (px)",
    "mean_intensity": "mean intensity",
}


def shares_table(mask, names, colors):
    """HTML of the classes that an image holds, with colours and shares, the most first."""
    counts = pixels_of_values(mask, minlength=len(names))
    rows = []
    for class_id in sorted(range(len(names)), key=lambda one: -counts[one]):
        if counts[class_id]:
            color = format_color(colors[class_id]) if class_id else "transparent"
            rows.append(
                f'<tr><td><span class="patch" style="background:{color}"></span></td>'
                f"<td>{html.escape(names[class_id])}</td>"
                f'<td class="number">{counts[class_id] / mask.size:.2%}</td>'
                f'<td class="number">{counts[class_id]:,}</td></tr>'
            )
    head = "<tr><th></th><th>class</th><th>share</th><th>pixels</th></tr>"
    return f'<table class="shares"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


def read_regions(path):
    """The regions of an image's table.

    Args:
        path: Path of a CSV file, as of `utils.prediction.regions.write_regions`.

    Returns:
        (headers, rows as lists of str and numbers, int of all rows of the file)
    """
    rows, count = [], 0
    with open(path, newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            count += 1
            if count <= MOST_REGIONS:
                rows.append([row["class"], *(_number(row[name]) for name in list(_COLUMNS)[1:])])
    return list(_COLUMNS.values()), rows, count


def _number(text):
    return round(float(text), 2) if "." in text else int(text) if text.isdecimal() else text
