"""A JPEG's segments from the first to the end: what it says of its picture, and whether all of it is there.

Decides: which damage is seen without decoding. libjpeg, by which both decoders read, takes almost any file for a whole
one: what is missing becomes grey, or lacks its details. So the size has to be said once; segments follow each other up
to the end; each scan has its restart markers, in order; every component has all bits of all its coefficients; and no
scan has a long row of zeros, unless zeros are the code of even blocks. Leaves out: the codes themselves, which take as
long to read as a picture to decode. Damage that leaves valid codes behind is not seen.

    jpeg_head(content)  # Head(rows=480, columns=640, channels=3, codes_end=61258)
"""

import struct
from dataclasses import dataclass

import numpy as np

from agent.errors import BadQuery
from agent.inference.pre.files.head import Head

START = b"\xff\xd8\xff"
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of the segment that states the picture's size; the marker says how the pixels are coded."""
BY_HUFFMAN, PROGRESSIVE = (0xC0, 0xC1), (0xC2, 0xCA)
IN_BLOCKS = (*BY_HUFFMAN, *PROGRESSIVE, 0xC9)
CODES, END, SCAN, INTERVAL = 0xC4, 0xD9, 0xDA, 0xDD
PASSED_OVER = frozenset((0xCC, 0xDB, 0xDC, 0xFE, *range(0xE0, 0xF0)))
SEGMENTS = FRAMES | PASSED_OVER | {CODES, SCAN, INTERVAL}
BARE = frozenset((0x01, *range(0xD0, 0xD8)))
"""Markers without a length."""
FILLING = 0xFF

EDGE, COEFFICIENTS = 8, 64
"""A block's edge in pixels, and its coefficients."""
MOST_ZEROS = bytes(128)
"""Of zero bits alone, where these end no block, a block takes 190 to 400: so many hold a whole one of equal
coefficients, which no picture has. A worn card and a lost packet leave them by hundreds."""


@dataclass(frozen=True)
class Frame:
    """How the pixels are coded, and each component's samples per unit, across and down."""

    marker: int
    rows: int
    columns: int
    sampling: dict[int, tuple[int, int]]

    def units(self, components: list[int]) -> int:
        """Return how many units, between which restart markers may stand, a scan of these components has."""
        widest, tallest = (max(counts) for counts in zip(*self.sampling.values(), strict=True))
        across, down = self.sampling[components[0]] if len(components) == 1 else (1, 1)
        return _whole(_whole(self.columns * across, widest), EDGE) * _whole(_whole(self.rows * down, tallest), EDGE)


def jpeg_head(content: bytes) -> Head:
    """Walk the segments up to the end.

    Raises:
        BadQuery: Damaged, or without pixels.
        IndexError, struct.error: Cut off.
    """
    walk = _Walk(content)
    while (marker := walk.marker()) != END:
        walk.take(marker)
    return walk.head()


class _Walk:
    """A place in the file, and what has been read up to there."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, len(START) - 1
        self._frame: Frame | None = None
        self._interval, self._scans, self._ended = 0, 0, 0
        self._components: list[int] = []
        self._tables: list[int] = []
        self._zeros_end_a_block: dict[int, bool] = {}
        self._missing_bits: dict[int, bytearray] = {}
        data = np.frombuffer(content, dtype=np.uint8)
        places = np.flatnonzero(data[:-1] == FILLING)
        behind = data[places + 1]
        restart = (behind & 0xF8) == 0xD0
        self._restarts, self._numbers = places[restart], behind[restart] & 7
        self._ends = places[(behind != 0) & (behind != FILLING) & ~restart]

    def marker(self) -> int:
        """Return the next marker, and stand behind it."""
        while True:
            if self._content[self._at] != FILLING:
                raise self._damaged("no segment begins there")
            while self._content[self._at] == FILLING:
                self._at += 1
            self._at += 1
            found = self._content[self._at - 1]
            if found not in BARE or self._scans:
                return found

    def take(self, marker: int) -> None:
        """Read the segment at which the walk stands, and the codes of pixels behind it; stand behind them."""
        (length,) = struct.unpack_from(">H", self._content, self._at)
        body = self._content[self._at + 2 : self._at + length]
        if marker not in SEGMENTS or length < 2:
            raise self._damaged(f"0xff{marker:02x} begins no segment")
        if len(body) != length - 2:
            raise IndexError
        try:
            self._read(marker, body)
        except (IndexError, KeyError, ValueError, struct.error) as exc:
            raise self._damaged(f"the segment 0xff{marker:02x} holds what it cannot hold") from exc
        self._at += length
        if marker == SCAN:
            self._pass_codes()

    def head(self) -> Head:
        """Return what the file says of its picture; the walk stands behind the end.

        Raises:
            BadQuery: There is no picture, or not all of it.
        """
        frame = self._frame
        if frame is None or not self._scans:
            raise BadQuery("the JPEG ends, and has no pixels")
        if any(map(any, self._missing_bits.values())):
            raise BadQuery(f"the JPEG is cut off: it ends after {self._scans} scans, before all its details are there")
        alone = self._scans == 1 and frame.marker in BY_HUFFMAN
        return Head(frame.rows, frame.columns, len(frame.sampling), self._ended if alone else None)

    def _damaged(self, why: str) -> BadQuery:
        return BadQuery(f"the JPEG is damaged at byte {self._at}: {why}")

    def _read(self, marker: int, body: bytes) -> None:
        if marker in FRAMES:
            self._read_frame(marker, body)
        elif marker == CODES:
            self._read_codes(body)
        elif marker == INTERVAL:
            (self._interval,) = struct.unpack(">H", body)
        elif marker == SCAN:
            self._read_scan(body)

    def _read_frame(self, marker: int, body: bytes) -> None:
        if self._frame is not None:
            raise self._damaged("it says a second time how large it is")
        _, rows, columns, count = struct.unpack_from(">BHHB", body)
        sampling = {number: (both >> 4, both & 15) for number, both, _ in struct.iter_unpack("BBB", body[6:])}
        if not 0 < count == len(sampling) or not all(0 < each < 5 for both in sampling.values() for each in both):
            raise ValueError
        self._frame = Frame(marker, rows, columns, sampling)
        self._missing_bits = {number: bytearray([FILLING]) * COEFFICIENTS for number in sampling}

    def _read_codes(self, body: bytes) -> None:
        at = 0
        while at < len(body):
            table, count = body[at], sum(body[at + 1 : at + 17])
            if table >> 4 == 1 and count:  # a table of coefficients; its first code is of zeros alone
                self._zeros_end_a_block[table & 15] = body[at + 17] == 0
            at += 17 + count

    def _read_scan(self, body: bytes) -> None:
        if self._frame is None:
            raise BadQuery("the JPEG has pixels, and does not say how many")
        pairs, (first, last, bits) = body[1 : 1 + 2 * body[0]], body[1 + 2 * body[0] :]
        self._components, self._tables = list(pairs[::2]), [both & 15 for both in pairs[1::2]]
        if self._frame.marker not in PROGRESSIVE:
            first, last, bits = 0, COEFFICIENTS - 1, 0
        if not self._components or not first <= last < COEFFICIENTS:
            raise ValueError
        for number in self._components:
            self._missing_bits[number][first : last + 1] = bytes([bits & 15]) * (last + 1 - first)
        self._scans += 1

    def _pass_codes(self) -> None:
        """Go to the marker behind a scan's codes, and see whether those can be right."""
        assert self._frame is not None
        start, end = self._at, int(self._ends[np.searchsorted(self._ends, self._at)])
        if self._frame.marker in IN_BLOCKS:
            self._check_restarts(start, end, (self._frame.units(self._components) - 1) // (self._interval or 1))
        if self._frame.marker in BY_HUFFMAN:
            self._check_zeros(start, end)
        self._at = self._ended = end

    def _check_zeros(self, start: int, end: int) -> None:
        """Refuse a scan with a long row of zeros, but at its end: some cameras fill frames up with them."""
        if all(self._zeros_end_a_block.get(table, True) for table in self._tables):
            return
        zeros = self._content[start:end].rstrip(b"\0").find(MOST_ZEROS)
        if zeros >= 0:
            self._at = start + zeros
            raise self._damaged("its pixels are nothing but zeros from there")

    def _check_restarts(self, start: int, end: int, wanted: int) -> None:
        """Refuse a scan whose restart markers are not those that it has to have; more at its end harm nothing."""
        numbers = self._numbers[slice(*np.searchsorted(self._restarts, (start, end)))]
        if self._interval == 0 and numbers.size:
            raise self._damaged("its pixels hold restart markers, which it does not announce")
        if self._interval == 0:
            return
        if numbers.size < wanted or (numbers[:wanted] != np.arange(wanted) % 8).any():
            raise self._damaged(f"of its pixels' {wanted} restart markers, {numbers.size} are there, or in disorder")


def _whole(size: int, unit: int) -> int:
    """Return how many units it takes to cover a size."""
    return -(-size // unit)
