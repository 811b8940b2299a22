"""Samples of devices: put together, checked, kept within bounds, listed and exported."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.errors import ConfigurationError, UnusableData
from controller.fleet.ingest import Effects, Ingest
from controller.fleet.sample_arrays import export
from controller.fleet.samples import RECOUNT_S, SampleFolder
from controller.keys import load_key
from controller.mqtt import Received
from controller.store.database import Store
from controller.workspace import Workspace
from wire.base import encode
from wire.canonical import sha256_hex
from wire.device_state import State
from wire.errors import MalformedMessage
from wire.sample import PART_BYTES, Sample, SamplePart, pack, unpack
from wire.topics import Address, Topics
from wire.update import Reported

PI_1 = Address("farm", "sample", "pi-1", item="s-1")
TOPICS = Topics("farm")


def sample(name: str = "s-1", payload: bytes | None = None, **fields: Any) -> Sample:
    raw = np.arange(2, dtype=np.float32).tobytes() if payload is None else payload
    base: dict[str, Any] = {
        "device": "pi-1",
        "workload": "climate",
        "sample": name,
        "at_s": 5.0,
        "because": "random",
        "encoding": "raw",
        "dtype": "float32",
        "shape": [2],
        "answer": {"classes": [1, 0], "labels": ["dry", "wet"], "values": [0.6, 0.4]},
        "payload": base64.b64encode(raw).decode(),
    }
    return Sample.model_validate(base | fields)


def parts(packed: bytes, name: str = "s-1", *, size: int = PART_BYTES, digest: str | None = None) -> list[SamplePart]:
    slices = [packed[start : start + size] for start in range(0, len(packed), size)]
    return [
        SamplePart(
            sample=name,
            part=number,
            parts=len(slices),
            sha256=digest or sha256_hex(packed),
            data=base64.b64encode(piece).decode(),
        )
        for number, piece in enumerate(slices)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> SampleFolder:
    return SampleFolder(tmp_path / "samples")


@pytest.mark.parametrize(("order", "taken"), [((0, 1, 2), "--+"), ((2, 0, 1), "--+"), ((1, 1, 0, 2, 2), "---++")])
def test_parts_in_any_order_and_twice_make_one_sample(
    folder: SampleFolder, tmp_path: Path, order: Sequence[int], taken: str
) -> None:
    packed = pack(sample())
    sent = parts(packed, size=len(packed) // 3 + 1)
    assert [folder.collect(PI_1, sent[number]) for number in order] == [each == "+" for each in taken]
    (kept,) = folder.kept()
    assert (kept.fleet, kept.workload, kept.device) == ("farm", "climate", "pi-1")
    assert unpack(kept.path.read_bytes()) == sample()
    assert list((tmp_path / "samples" / ".incoming").glob("*/*/*")) == []


def test_a_sample_that_is_kept_is_acknowledged_again(folder: SampleFolder) -> None:
    (part,) = parts(pack(sample()))
    assert [folder.collect(PI_1, part) for _ in range(3)] == [True] * 3
    assert len(folder.kept()) == 1


def test_a_device_that_goes_on_to_another_sample_leaves_nothing_behind(folder: SampleFolder, tmp_path: Path) -> None:
    first = parts(pack(sample("s-1")), "s-1", size=90)
    second = parts(pack(sample("s-2")), "s-2", size=90)
    assert not folder.collect(PI_1, first[0])
    assert [folder.collect(PI_1, part) for part in second][-1]
    assert list((tmp_path / "samples" / ".incoming").glob("*/*/*")) == []


@pytest.mark.parametrize(
    "whole",
    [
        b"no zlib",
        pack(sample())[:-3],
        pack(sample(device="pi-2")),
        pack(sample("s-2")),
        pack(sample(shape=[3])),
        pack(sample(shape=[-2])),
        pack(sample(dtype="object")),
        pack(sample(payload=b"")),
        pack(sample().model_copy(update={"payload": "*"})),
        pack(sample().model_copy(update={"workload": "../../x"})),
    ],
    ids=["zlib", "short", "device", "name", "shape", "negative", "dtype", "empty", "base64", "workload"],
)
def test_what_is_whole_and_no_usable_sample_is_acknowledged_and_not_kept(
    folder: SampleFolder, tmp_path: Path, whole: bytes
) -> None:
    assert [folder.collect(PI_1, part) for part in parts(whole)] == [True]
    assert folder.kept() == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (parts(pack(sample()), digest="f" * 64)[0], "digest"),
        (parts(pack(sample()))[0].model_copy(update={"data": "*"}), "base64"),
        (parts(pack(sample()))[0].model_copy(update={"part": 1}), "no such part"),
        (parts(pack(sample()))[0].model_copy(update={"parts": 999}), "no such part"),
        (parts(pack(sample()))[0].model_copy(update={"data": base64.b64encode(bytes(66_000)).decode()}), "more than"),
    ],
)
def test_a_part_that_is_none_is_refused_and_may_come_again(folder: SampleFolder, part: SamplePart, said: str) -> None:
    with pytest.raises(MalformedMessage, match=said):
        folder.collect(PI_1, part)
    assert folder.collect(PI_1, parts(pack(sample()))[0])


def test_no_more_is_kept_than_there_is_room_for_and_devices_keep_theirs(tmp_path: Path) -> None:
    one = pack(sample())
    now_s = [100.0]

    def made() -> SampleFolder:
        return SampleFolder(tmp_path / "samples", most_bytes=2 * len(one) + 10, clock=lambda: now_s[0])

    folder = made()
    taken = [offer(folder, f"s-{n}") for n in range(4)]
    assert taken == [True, True, False, False]
    assert not offer(made(), "s-3"), "a restart counts what is there"
    folder.kept()[0].path.unlink()
    assert not offer(folder, "s-3"), "the files are not counted for each sample"
    now_s[0] += RECOUNT_S
    assert offer(folder, "s-3")


def test_all_workloads_together_are_bounded(tmp_path: Path) -> None:
    one = len(pack(sample()))
    folder = SampleFolder(tmp_path / "samples", most_bytes=10 * one, most_bytes_in_all=3 * one + 30)
    taken = [offer(folder, f"s-{n}", workload=f"w-{n}") for n in range(5)]
    assert taken == [True, True, True, False, False]
    assert len(folder.kept()) == 3


def offer(folder: SampleFolder, name: str, **fields: Any) -> bool:
    return folder.collect(PI_1, parts(pack(sample(name, **fields)), name)[0])


def test_the_ingest_acknowledges_what_is_kept(store: Store, workspace: Workspace) -> None:
    ingest = Ingest(store, load_key(workspace.keys), SampleFolder(workspace.samples), lambda: 1.0)
    sent = parts(pack(sample()), size=200)

    def take(topic: str, part: SamplePart) -> Effects:
        return ingest.batch([Received(topic, encode(part), False)])

    report(ingest, "climate")
    ingest.counts.clear()
    assert not take(TOPICS.sample("pi-1", "s-2"), sent[0]).samples, "a part on the topic of another"
    assert ingest.counts == {"sample.malformed": 1}
    effects = Effects()
    for part in sent:
        effects.add(take(TOPICS.sample("pi-1", "s-1"), part))
        effects.add(take(TOPICS.sample("pi-1", "s-1"), part))
    assert effects.samples == {("farm", "pi-1"): ["s-1"]}
    assert len(SampleFolder(workspace.samples).kept()) == 1


def report(ingest: Ingest, workload: str) -> None:
    said = Reported(fleet="farm", device="pi-1", workload=workload, gen=0, state=State.IDLE, boot_id="b", seq=1, at_s=1)
    ingest.batch([Received(TOPICS.reported("pi-1", workload), encode(said), False)])
    assert ingest.counts["reported"] == 1


def test_samples_of_a_workload_that_the_device_never_reported_are_not_taken(store: Store, workspace: Workspace) -> None:
    ingest = Ingest(store, load_key(workspace.keys), SampleFolder(workspace.samples), lambda: 1.0)
    received = Received(TOPICS.sample("pi-1", "s-1"), encode(parts(pack(sample()))[0]), False)
    report(ingest, "soil")
    assert not ingest.batch([received]).samples, "the device keeps it: its report may still be on the way"
    assert not list(workspace.samples.rglob("*.sample"))
    ingest.counts.clear()
    report(ingest, "climate")
    assert ingest.batch([received]).samples == {("farm", "pi-1"): ["s-1"]}


# --- export ----------------------------------------------------------------------------------------------------------


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array))
    return stream.getvalue()


def fill(folder: SampleFolder, *samples: Sample) -> None:
    for each in samples:
        address = Address("farm", "sample", each.device, item=each.sample)
        assert folder.collect(address, parts(pack(each), each.sample)[0])


def test_samples_of_every_encoding_become_rows_oldest_first(folder: SampleFolder, tmp_path: Path) -> None:
    classes = {"classes": [2], "values": [0.5]}
    fill(
        folder,
        sample("s-3", at_s=3.0),
        sample("s-1", at_s=1.0, encoding="npy", payload=npy(np.array([5, 6], np.int16)), answer=classes),
        sample("s-2", at_s=2.0, encoding="json", payload=b"[1.5, 2]", device="pi-2", answer={"classes": [0]}),
    )
    done = export(folder.kept(), tmp_path / "out.npz")
    assert (done.samples, done.shape, done.left_out) == (3, (2,), 0)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    assert set(found) == {"x", "predicted", "confidence", "device", "at_s"}
    assert found["x"].tolist() == [[5, 6], [1.5, 2], [0, 1]]
    assert found["predicted"].tolist() == [2, 0, 1]
    np.testing.assert_array_equal(found["confidence"], [0.5, np.nan, 0.6])
    assert found["device"].tolist() == ["pi-1", "pi-2", "pi-1"]
    assert found["at_s"].tolist() == [1.0, 2.0, 3.0]


def test_regressions_have_values_and_no_confidence(folder: SampleFolder, tmp_path: Path) -> None:
    fill(folder, sample("s-1", answer={"values": [1.5, None]}), sample("s-2", answer={"values": [2.5, 3]}))
    export(folder.kept(), tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        np.testing.assert_array_equal(arrays["predicted"], [[1.5, np.nan], [2.5, 3]])
        assert np.isnan(arrays["confidence"]).all()


HOSTILE = [
    sample("s-8", encoding="npy", payload=npy(np.arange(2)).replace(b"(2,)", b"(9**9,)")),
    sample("s-8", encoding="npy", payload=npy(np.arange(2)).replace(b"(2,), }", b"(99,),}")),
    sample("s-8", encoding="npy", payload=b"\x93NUMPY"),
    sample("s-8", encoding="npy", payload=npy(["a", "b"])),
    sample("s-8", encoding="json", payload=b"[[1], [2, 3]]"),
    sample("s-8", encoding="json", payload=b'{"a": 1}'),
    sample("s-8", encoding="json", payload=b"[" * 100_000),
    sample("s-8", answer={"classes": ["x"], "values": [1]}),
    sample("s-8", answer={"classes": 3}),
    sample("s-8", answer={"classes": [1], "values": [{}]}),
    sample("s-8", payload=bytes(12), shape=[3]),
    sample("s-8", answer={"values": [1.0]}),
]


@pytest.mark.parametrize("odd", HOSTILE, ids=range(len(HOSTILE)))
def test_what_does_not_fit_in_is_left_out(folder: SampleFolder, tmp_path: Path, odd: Sample) -> None:
    fill(folder, sample("s-1"), sample("s-2"), odd)
    done = export(folder.kept(), tmp_path / "out.npz")
    assert (done.samples, done.left_out) == (2, 1)


def test_nothing_usable_and_a_file_in_the_way_are_said(folder: SampleFolder, tmp_path: Path) -> None:
    path = tmp_path / "out.npz"
    fill(folder, HOSTILE[2])
    with pytest.raises(UnusableData, match="sample list"):
        export(folder.kept(), path)
    fill(folder, sample("s-1"))
    path.write_bytes(b"mine")
    with pytest.raises(ConfigurationError, match="there already"):
        export(folder.kept(), path)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        export(folder.kept(), tmp_path / "no" / "folder.npz")
