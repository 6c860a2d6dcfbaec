"""The regions of a mask as GeoJSON, for QuPath and programs of maps.

Coordinates are pixels: 0, 0 is the upper left corner of the image, and x comes first. A region is
a polygon with its holes: the outer ring runs anticlockwise and the holes clockwise, with the y axis
taken as pointing up, as RFC 7946 wants it. Rings have no loops and cross nothing. Parts of a region
that touch by a corner alone can't be one such polygon: they are a MultiPolygon.

Source: RFC 7946; the properties are those of QuPath's own files.
"""

import json

import cv2
import numpy as np

from utils.files import whole_file
from utils.labels import voc_palette
from utils.prediction.outlines import find_outlines
from utils.prediction.polygons import is_valid
from utils.prediction.simplify import bounds_of, rings_of, simplify_regions


def write_geojson(path, mask, names, tolerance):
    """Writes a FeatureCollection, whole or not at all, with a line for each region.

    Args:
        path: Path of the file.
        mask: uint8 (H, W), class ids.
        names: sequence of str, without the background: `names[0]` is class 1.
        tolerance: float, pixels by which outlines may be simplified; 0: exact. A region whose
            simplified outline would cross or touch itself keeps its exact one.

    Raises:
        OSError: if it can't be written.
    """
    colors = voc_palette(256)
    with (
        whole_file(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="\n") as file,
    ):
        file.write('{"type": "FeatureCollection", "features": [')
        for index, (class_id, polygons) in enumerate(find_polygons(mask, tolerance)):
            feature = _feature(names[class_id - 1], colors[class_id].tolist(), polygons)
            file.write(f"{',' if index else ''}\n{json.dumps(feature)}")
        file.write("\n]}\n")


def _feature(name, color, polygons):
    coordinates = [[[*ring.tolist(), ring[0].tolist()] for ring in polygon] for polygon in polygons]
    one = len(coordinates) == 1
    return {
        "type": "Feature",
        "geometry": {
            "type": "Polygon" if one else "MultiPolygon",
            "coordinates": coordinates[0] if one else coordinates,
        },
        "properties": {
            "objectType": "annotation",
            "classification": {"name": name, "color": color},
        },
    }


def find_polygons(mask, tolerance):
    """Yields (class id, its polygons) of each region but the background's.

    Args:
        mask, tolerance: as for `write_geojson`.

    Yields:
        int, and a list of polygons: lists of rings, int64 (n, 2) of x and y, the outer one first.
        There are several polygons where parts of the region touch by corners alone.
    """
    regions, numbers = find_outlines(mask)
    simple = simplify_regions(regions, numbers, tolerance)
    is_plain = is_valid if tolerance else _has_no_point_twice
    for region, reduced in zip(regions, simple, strict=True):
        if region.class_id:
            polygon = _polygon_of(reduced)
            plain = is_plain(polygon)
            yield region.class_id, [polygon] if plain else _exact_parts(region, numbers)


def _has_no_point_twice(polygon):
    # Exact outlines meet at corners of pixels, where both of them turn.
    points = np.concatenate(polygon)
    return len(np.unique(points, axis=0)) == len(points)


def _polygon_of(region):
    """The rings of a Region; holes that enclose nothing are left out."""
    # Where a region touches itself, one of two equal points.
    rings = [
        ring.points[(ring.points != np.roll(ring.points, 1, axis=0)).any(axis=1)]
        for ring in rings_of(region)
    ]
    return [rings[0], *(points for points in rings[1:] if len(points) > 2)]


def _exact_parts(region, numbers):
    """The polygons of the parts of a region that hang together by edges."""
    rows, columns = bounds_of(region)
    inside = (numbers[rows, columns] == region.number).view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    polygons = []
    for label in range(1, count):
        left, top, width, height, _ = stats[label].tolist()
        part = labels[top : top + height, left : left + width] == label
        # Where such a part touches itself by a corner, that closes a hole: no ring meets itself.
        found = next(one for one in find_outlines(part.view(np.uint8))[0] if one.class_id)
        offset = (columns.start + left, rows.start + top)
        polygons.append([points + offset for points in _polygon_of(found)])
    return polygons
