"""What a file says of its picture. Leaves out: reading it (`jpeg.py`, `png.py`)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Head:
    """What a file says of its picture."""

    rows: int
    columns: int
    channels: int
    codes_end: int | None = None
    """Where the pixels' codes end, in a JPEG that has them in one row, by Huffman's rule."""
