"""One table of regions of many images, joined from the tables of each."""

import csv

from utils.files import csv_text, whole_file

FOLDER_TABLE = "regions.csv"


def join_tables(path, tables):
    """Joins tables of `utils.prediction.regions.write_regions` into one, whole or not at all.

    Where they have different columns, since some files tell the size of their pixels and others
    don't, it has all columns, and cells are empty where a table had none.

    Args:
        path: str or Path of the file.
        tables: what can be gone through twice and gives, for each image, (name that it is to have
            in the table, Path of its table).

    Raises:
        OSError: if a table is missing, or the file can't be written.
    """
    columns = {}
    for _, table in tables:
        with _reading(table) as file:
            columns |= dict.fromkeys(next(csv.reader(file), ()))
    with (
        whole_file(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8-sig", errors="backslashreplace") as file,
    ):
        writer = csv.DictWriter(file, list(columns), restval="", extrasaction="ignore")
        writer.writeheader()
        for name, table in tables:
            with _reading(table) as rows:
                for row in csv.DictReader(rows):
                    writer.writerow(row | {"picture": csv_text(name)})


def _reading(table):
    return open(table, newline="", encoding="utf-8-sig")
