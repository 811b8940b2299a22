"""A table on the disk, whole or not at all: CSV by the standard library, Parquet by the extra `export`.

Decides: how cells are written, and that an existing file is not overwritten unasked. Leaves out: which columns
(`export`). pyarrow is loaded here and nowhere else, when a Parquet file is opened.
"""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from controller.bundle.atomic import unfinished_folder
from controller.errors import ConfigurationError
from controller.trial.figures import Cell, Row

Format = Literal["csv", "parquet"]
Kind = type[str] | type[int] | type[float] | type[bool]
Columns = Mapping[str, Kind]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Exported:
    """What was written."""

    rows: int
    columns: int
    size_bytes: int


class _Writer(Protocol):
    def write(self, rows: Sequence[Row]) -> None: ...
    def close(self) -> None: ...


def write_table(path: Path, form: Format, columns: Columns, batches: Iterable[Sequence[Row]]) -> Exported:
    """Write rows, a batch at a time; what a row lacks is empty.

    Args:
        path: Replaced whole, once all is on the disk.
        form: Of the file.
        columns: Name -> type; every value is of its column's type, or None.
        batches: One batch is in memory at a time.
    Raises:
        ConfigurationError: Parquet without its extra, or no file can be written there.
        DiskFull: No room.
    """
    try:
        with _whole(path) as partial:
            written = _fill(partial, form, columns, batches)
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be written ({exc.strerror or exc}): name a file elsewhere") from exc
    return Exported(written, len(columns), path.stat().st_size)


def _fill(path: Path, form: Format, columns: Columns, batches: Iterable[Sequence[Row]]) -> int:
    """Write all rows and return their number."""
    written = 0
    writer: _Writer = _Csv(path, columns) if form == "csv" else _Parquet(path, columns)
    try:
        for rows in batches:
            writer.write(rows)
            written += len(rows)
    finally:
        writer.close()
    return written


def refuse_existing(path: Path, force: bool) -> None:
    """Refuse to write over a file.

    Raises:
        ConfigurationError: `path` is there and `force` was not asked for, or it is a folder.
    """
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder: name a file in it")
    if path.exists() and not force:
        raise ConfigurationError(f"{path} is there already: choose another name, or overwrite it with --force")


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Give a file to write beside `path`, and put it in its place once all is on the disk."""
    with unfinished_folder(path.absolute().parent) as folder:
        partial = folder / path.name
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)


class _Csv:
    def __init__(self, path: Path, columns: Columns) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, list(columns), restval="")
        self._writer.writeheader()

    def write(self, rows: Sequence[Row]) -> None:
        self._writer.writerows({name: _csv_text(value) for name, value in row.items()} for row in rows)

    def close(self) -> None:
        self._file.close()


def _csv_text(value: Cell) -> Cell:
    if isinstance(value, bool):
        return "true" if value else "false"
    # To a spreadsheet such a text is a formula, and texts come from devices; a number as text is none.
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) and not _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class _Parquet:
    def __init__(self, path: Path, columns: Columns) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as exc:
            raise ConfigurationError(
                f"Parquet is written by pyarrow, which cannot be loaded ({exc}): "
                "pip install 'thresher[export]', or take --format csv"
            ) from exc
        kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}
        self._table = pyarrow.Table
        self._schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, rows: Sequence[Row]) -> None:
        if rows:
            self._writer.write_table(self._table.from_pylist(list(rows), schema=self._schema))

    def close(self) -> None:
        self._writer.close()
