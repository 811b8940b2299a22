"""Samples that devices captured: parts are gathered, put together, verified, and kept as files of the workspace.

Decides: which sample is kept, where, and how many. Leaves out: reading them as arrays (`sample_arrays.py`).
`ROOT/FLEET/WORKLOAD/DEVICE/ID.sample` holds the packed bytes as they came. Parts wait in `ROOT/.incoming/FLEET/DEVICE`,
for one sample a device: devices send one after the other. Sizes are counted at the start and kept in memory; the files
are looked at again only where there is no room, once a minute at most, since people delete some to make room.
"""

import base64
import binascii
import logging
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controller.bundle.atomic import disk_full, means_no_room, write_whole
from wire.canonical import sha256_hex
from wire.errors import MalformedMessage, WireError
from wire.sample import MOST_PARTS, PART_BYTES, Sample, SamplePart, payload_of, unpack
from wire.topics import Address

log = logging.getLogger(__name__)

MOST_BYTES = 1024**3
"""Kept per fleet and workload; beyond, devices keep theirs until some are deleted here."""
MOST_BYTES_IN_ALL = 8 * MOST_BYTES
"""Kept of all fleets and workloads: a device may report workloads that nobody deployed."""
RECOUNT_S = 60.0
SUFFIX = ".sample"
_INCOMING = ".incoming"
ITEM_BYTES = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "int32": 4, "uint32": 4, "float32": 4,
    "int64": 8, "uint64": 8, "float64": 8,
}  # fmt: skip


@dataclass(frozen=True)
class KeptSample:
    """A sample's file and whose it is."""

    fleet: str
    workload: str
    device: str
    path: Path


class SampleFolder:
    """The samples of one workspace."""

    def __init__(
        self,
        root: Path,
        most_bytes: int = MOST_BYTES,
        most_bytes_in_all: int = MOST_BYTES_IN_ALL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use `root`; nothing is made or counted before there is something to keep.

        Args:
            root: Of all samples.
            most_bytes: Kept per fleet and workload.
            most_bytes_in_all: Kept at all.
            clock: Seconds, paces the counting of files.
        """
        self._root = root
        self._most_bytes = most_bytes
        self._most_bytes_in_all = most_bytes_in_all
        self._clock = clock
        self._sizes: Counter[tuple[str, str]] = Counter()
        self._counted_at_s = -math.inf

    def collect(self, address: Address, part: SamplePart, reports: Callable[[str], bool] = lambda _: True) -> bool:
        """Take a part in; return whether the sample is to be acknowledged, so that the device deletes it.

        That is so once it is kept, now or before, and where it can never be: a whole sample that is not usable would be
        sent for ever.

        Args:
            address: Who sends it.
            part: Of one sample.
            reports: Whether the device has reported this workload: samples of no other are taken.
        Raises:
            MalformedMessage: Not a part, or the parts do not make what they announce.
            DiskFull: No room; the part may be given again.
        """
        if part.part >= part.parts or part.parts > MOST_PARTS:
            raise MalformedMessage(f"part {part.part} of {part.parts} of sample {part.sample}: no such part")
        if self._is_kept(address, part.sample):
            return True
        whole = self._gather(address, part)
        if whole is None:
            return False
        try:
            sample = unpack(whole)
            _check(sample, address, part)
        except WireError as exc:
            log.warning("sample %s of %s/%s is dropped: %s", part.sample, address.fleet, address.device, exc)
            return True
        if not reports(sample.workload):
            log.warning(
                "sample %s of %s/%s is not taken: the device has not reported its workload %s",
                part.sample, address.fleet, address.device, sample.workload,
            )  # fmt: skip
            return False
        return self._keep(address, sample, whole)

    def kept(self) -> list[KeptSample]:
        """Return what is kept, by fleet, workload, device and time."""
        return [
            KeptSample(path.parts[-4], path.parts[-3], path.parts[-2], path)
            for path in sorted(self._root.glob(f"*/*/*/*{SUFFIX}"))
        ]

    def _gather(self, address: Address, part: SamplePart) -> bytes | None:
        """Keep a part; return all of them in order once none is missing."""
        folder = self._root / _INCOMING / address.fleet / str(address.device)
        name = f"{part.sample}-{part.sha256[:16]}-{part.parts}"
        for older in folder.glob("*") if folder.is_dir() else ():
            if older.name != name:
                shutil.rmtree(older, ignore_errors=True)
        place = folder / name
        try:
            place.mkdir(parents=True, exist_ok=True)
            place.joinpath(f"{part.part:04d}").write_bytes(_content(part))
        except OSError as exc:
            if means_no_room(exc):
                raise disk_full(place) from exc
            raise
        pieces = sorted(place.iterdir())
        if len(pieces) < part.parts:
            return None
        whole = b"".join(piece.read_bytes() for piece in pieces)
        shutil.rmtree(place, ignore_errors=True)
        if sha256_hex(whole) != part.sha256:
            raise MalformedMessage(f"sample {part.sample} does not have the digest that its parts announce")
        return whole

    def _keep(self, address: Address, sample: Sample, whole: bytes) -> bool:
        folder, key = self._root / address.fleet / sample.workload, (address.fleet, sample.workload)
        if not self._has_room(key, len(whole)):
            log.warning(
                "%s holds %d bytes, %d in all: %s is not taken; export and delete some",
                folder, self._sizes[key], self._sizes.total(), sample.sample,
            )  # fmt: skip
            return False
        write_whole(folder / sample.device / f"{sample.sample}{SUFFIX}", whole)
        self._sizes[key] += len(whole)
        return True

    def _has_room(self, key: tuple[str, str], size_bytes: int) -> bool:
        if self._fits(key, size_bytes):
            return True
        if self._clock() - self._counted_at_s < RECOUNT_S:
            return False
        self._count()
        return self._fits(key, size_bytes)

    def _fits(self, key: tuple[str, str], size_bytes: int) -> bool:
        """Return whether there is room by the sizes in memory, which are counted where they never were."""
        if math.isinf(self._counted_at_s):
            self._count()
        of_workload, in_all = self._sizes[key] + size_bytes, self._sizes.total() + size_bytes
        return of_workload <= self._most_bytes and in_all <= self._most_bytes_in_all

    def _count(self) -> None:
        self._counted_at_s = self._clock()
        self._sizes = Counter()
        for each in self.kept():
            try:
                self._sizes[each.fleet, each.workload] += each.path.stat().st_size
            except FileNotFoundError:  # deleted just now
                continue

    def _is_kept(self, address: Address, sample: str) -> bool:
        return any(self._root.glob(f"{address.fleet}/*/{address.device}/{sample}{SUFFIX}"))


def _content(part: SamplePart) -> bytes:
    try:
        content = base64.b64decode(part.data, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise MalformedMessage(f"part {part.part} of sample {part.sample} is not base64: {exc}") from exc
    if len(content) > PART_BYTES:
        raise MalformedMessage(f"part {part.part} of sample {part.sample} has more than {PART_BYTES} bytes")
    return content


def _check(sample: Sample, address: Address, part: SamplePart) -> None:
    """Refuse a sample of somebody else, or one whose size is not what it says."""
    if (sample.device, sample.sample) != (address.device, part.sample):
        raise MalformedMessage(f"it says it is {sample.sample} of {sample.device}")
    size_bytes = len(payload_of(sample))
    if sample.encoding != "raw":
        return
    if sample.dtype not in ITEM_BYTES or any(axis < 0 for axis in sample.shape):
        raise MalformedMessage(f"dtype {sample.dtype} of shape {sample.shape} cannot be read")
    if math.prod(sample.shape) * ITEM_BYTES[sample.dtype] != size_bytes:
        raise MalformedMessage(f"{size_bytes} bytes are not {sample.dtype} of shape {sample.shape}")
