"""Lines of a CSV file by the names of their columns, whatever it is written with."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LINES_MAX = 5_000_000
DELIMITERS, BOMMED = ";,\t", {"utf-8": "utf-8-sig", "utf8": "utf-8-sig"}


class Unusable(Exception):
    """The folder does not hold such a history."""


def lines(
    path: Path, needed: tuple[str, ...], encoding: str
) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Line number and the needed fields by name, or why they are not there."""
    try:
        # A mark of the byte order is no part of the first name.
        with path.open(encoding=BOMMED.get(encoding.lower(), encoding), newline="") as file:
            delimiter = _delimiter(file.readline())
            file.seek(0)
            rows = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
            names = _stripped(next(rows, []))
            if missing := [name for name in needed if name not in names]:
                raise Unusable(f"{path.name} has no column {', '.join(missing)}")
            yield from _rows(rows, names)
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None
    except UnicodeError as error:
        raise Unusable(
            f"{path.name} is not {encoding} ({error}): name it with --encoding"
        ) from None
    except LookupError:
        raise Unusable(f"--encoding {encoding}: no such encoding") from None


def _rows(rows: Any, names: list[str]) -> Iterator[tuple[int, dict[str, str] | str]]:
    while rows.line_num < LINES_MAX:
        try:
            fields = _stripped(next(rows))
        except StopIteration:
            return
        except csv.Error as error:
            yield rows.line_num, f"not CSV: {error}"
            continue
        if fields in ([], [""]):
            continue
        if len(fields) == len(names):
            yield rows.line_num, dict(zip(names, fields, strict=True))
        else:
            yield rows.line_num, f"{len(fields)} columns instead of {len(names)}"
    raise Unusable(f"more than {LINES_MAX} lines")


def _delimiter(head: str) -> str:
    """That of the names of the columns, which have none of these in them."""
    return max(DELIMITERS, key=head.count)


def _stripped(fields: list[str]) -> list[str]:
    return [field.strip() for field in fields]
