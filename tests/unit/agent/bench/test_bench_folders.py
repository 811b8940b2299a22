"""What `agent bench` is given: folders that are whole, and an evaluation set that goes by its own name."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.bench import BenchOptions, bench, measuring
from agent.bench.folders import open_bundle, open_set
from agent.errors import BadBundle, NotFound
from tests.unit.agent.bench.bench_kit import steady
from tests.unit.agent.inference import bundle_kit as kit
from wire.trial import TrialRecord, TrialRequest


def never(*_: Any) -> Iterator[TrialRecord]:
    raise AssertionError("nothing may be measured")


def test_a_whole_folder_is_opened(tmp_path: Path) -> None:
    bundle = kit.write_bundle(tmp_path / "b")
    dataset = kit.write_dataset(tmp_path / "s", kit.queries(5))
    digest, manifest = open_bundle(tmp_path / "b")
    assert (digest, manifest.variant) == (bundle, "onnx-float")
    assert open_set(tmp_path / "s")[0] == dataset


@pytest.mark.parametrize("place", [0, 40, -1])
def test_one_changed_byte_is_found_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: int
) -> None:
    kit.write_bundle(tmp_path / "b")
    content = bytearray((tmp_path / "b/model.onnx").read_bytes())
    content[place] ^= 1
    (tmp_path / "b/model.onnx").write_bytes(content)
    monkeypatch.setattr(measuring, "measure_group", never)
    with pytest.raises(BadBundle, match=r"model\.onnx differs from what the manifest says"):
        bench(tmp_path / "b", BenchOptions())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b")
    (tmp_path / "b/golden/inputs.npy").unlink()
    with pytest.raises(BadBundle, match=r"lacks the file 'golden/inputs\.npy'"):
        open_bundle(tmp_path / "b")


def test_a_bundle_is_no_evaluation_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is said in one line, and before minutes are spent."""
    kit.write_bundle(tmp_path / "b")
    monkeypatch.setattr(measuring, "measure_group", never)
    with pytest.raises(BadBundle, match=r"not a DatasetManifest.*give the folder of an evaluation set") as caught:
        bench(tmp_path / "b", BenchOptions(evaluation=tmp_path / "b"))
    assert "\n" not in str(caught.value)
    with pytest.raises(NotFound):
        open_set(tmp_path)


def test_the_answers_are_of_the_set_that_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The bundle's manifest may name another: answers under its digest would be judged by the wrong labels."""
    kit.write_bundle(tmp_path / "b", evaluation="c" * 64)
    own = kit.write_dataset(tmp_path / "s", kit.queries(5))
    asked: list[tuple[TrialRequest, Any]] = []

    def group(requests: Sequence[TrialRequest], _: Any, sets: Any, *__: Any) -> Iterator[TrialRecord]:
        asked.extend((one, sets) for one in requests)
        yield steady(10**6)

    monkeypatch.setattr(measuring, "measure_group", group)
    bench(tmp_path / "b", BenchOptions(evaluation=tmp_path / "s"))
    ((request, sets),) = asked
    assert request.evaluation is not None
    assert request.evaluation.digest == own
    assert sets == {own: tmp_path / "s"}
