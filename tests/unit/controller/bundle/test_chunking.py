"""Where chunks end: the kernel, numpy and the definition agree; edits move nearby cuts only; tensors keep their own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from controller.bundle.chunk import cut_bytes
from controller.bundle.chunking import gear
from controller.bundle.chunking.gear import (
    COMPILED_FROM_BYTES,
    GEAR,
    LARGEST_BYTES,
    NORMAL_BYTES,
    SMALLEST_BYTES,
    cut_ends,
)
from controller.bundle.chunking.tensors import LARGE_BYTES, tensor_spans
from controller.convert.tflite import parse_tflite

MODELS = Path(__file__).parents[4] / "models"
NOISE = np.random.default_rng(0).integers(0, 256, 1_500_000, dtype=np.uint8).tobytes()
KINDS = {
    "noise": NOISE[:250_000],
    "zeros": bytes(200_000),
    "text": b"a line that repeats, with a number %d\n" * 5000,
    "short": NOISE[:70],
    "one byte": b"x",
    "one chunk": NOISE[:LARGEST_BYTES],
    "a byte more": NOISE[: LARGEST_BYTES + 1],
}


FIRST_AND_LAST = ["0x3f31b53714a17d1c", "0x73daeff4c1d61364", "0x4efd6b348885e17c"]
CUTS = (72857, 148418, 215942, 283038, 300000)


def as_defined(content: bytes, forced: Sequence[int] = ()) -> tuple[int, ...]:
    """Cut as the module's description says, a byte at a time, without its shortcuts."""
    table = [int(each) for each in GEAR]
    hashed, hashes = 0, []
    for byte in content:
        hashed = (hashed * 2 + table[byte]) % 2**64
        hashes.append(hashed)
    ends, start = [], 0
    for stop in (*forced, len(content)):
        while start < stop:
            last = min(start + LARGEST_BYTES, stop)
            ends.append(
                next(
                    (
                        place
                        for place in range(start + SMALLEST_BYTES, last)
                        if hashes[place - 1] >> (46 if place - start < NORMAL_BYTES else 50) == 0
                    ),
                    last,
                )
            )
            start = ends[-1]
    return tuple(ends)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("forced", [(), (1,), (10_000, 10_064, 150_000)])
def test_numpy_and_the_kernel_cut_as_it_is_defined(kind: str, forced: tuple[int, ...]) -> None:
    """The kernel as Python runs it; compiled, it is compared below."""
    content = KINDS[kind]
    fitting = tuple(place for place in forced if place < len(content))
    data, ends = np.frombuffer(content, dtype=np.uint8), np.array([*fitting, len(content)])
    assert gear._by_numpy(data, ends) == as_defined(content, fitting)


def test_the_compiled_kernel_cuts_like_numpy() -> None:
    """Compiling takes 3 s where nobody did before; then it is kept."""
    data, ends = np.frombuffer(NOISE, dtype=np.uint8), np.array([5, 400_000, len(NOISE)])
    kernel = gear._compiled()
    assert kernel is not None
    assert len(NOISE) >= COMPILED_FROM_BYTES
    assert gear._by_kernel(data, ends, kernel) == gear._by_numpy(data, ends) == cut_ends(NOISE, (5, 400_000))


def test_without_a_compiler_the_cuts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = cut_ends(NOISE)
    monkeypatch.setattr(gear, "_compiled", lambda: None)
    assert cut_ends(NOISE) == expected


def test_the_table_never_changes() -> None:
    """Other numbers would be other cuts: no chunk of a device would fit a new bundle."""
    assert [hex(int(GEAR[place])) for place in (0, 1, 255)] == FIRST_AND_LAST
    assert cut_ends(NOISE[:300_000]) == CUTS


def test_sizes_keep_their_bounds() -> None:
    sizes = np.diff((0, *cut_ends(NOISE)))
    assert sizes.max() <= LARGEST_BYTES
    assert sizes[:-1].min() >= SMALLEST_BYTES
    assert 56 * 1024 < sizes.mean() < 88 * 1024
    assert cut_ends(b"") == ()


def plain_chunks(content: bytes, name: str = "file") -> list[str]:
    return [chunk.id for chunk, _ in cut_bytes(name, content)]


@pytest.mark.parametrize("at", [0, 3, 200_000, 499_999])
@pytest.mark.parametrize("change", ["put in", "taken out"])
def test_an_edit_moves_the_cuts_near_it_and_no_others(at: int, change: str) -> None:
    before = NOISE[:500_000]
    after = before[:at] + NOISE[-17:] + before[at:] if change == "put in" else before[:at] + before[at + 17 :]
    old, new = plain_chunks(before), plain_chunks(after)
    assert len(set(new) - set(old)) <= 3
    assert len(set(old) & set(new)) >= len(old) - 3


def network(*tensors: np.ndarray, doc: str = "") -> bytes:
    """Return an ONNX file with these initialisers, the last of them in a Constant node."""
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(tensors[-1], "c"))
    graph = helper.make_graph(
        [constant],
        "g",
        [],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, list(tensors[-1].shape))],
        [numpy_helper.from_array(each, f"t{place}") for place, each in enumerate(tensors[:-1])],
        doc_string=doc,
    )
    content: bytes = helper.make_model(graph).SerializeToString()
    return content


def drawn(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count).astype(np.float32)


def test_large_tensors_are_found_in_onnx_wherever_they_are() -> None:
    tensors = [drawn(1, 10_000), drawn(2, 12), drawn(3, LARGE_BYTES // 4), drawn(4, 9_000)]
    content = network(*tensors)
    found = [content[start:end] for start, end in tensor_spans("model.onnx", content)]
    assert sorted(found) == sorted(each.tobytes() for each in tensors if each.nbytes >= LARGE_BYTES)


def test_packed_values_count_as_a_tensor() -> None:
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [6000], drawn(1, 6000).tolist())
    graph = helper.make_graph([], "g", [], [], [tensor])
    content = helper.make_model(graph).SerializeToString()
    assert [end - start for start, end in tensor_spans("model.onnx", content)] == [24_000]


def test_large_tensors_are_found_in_tflite() -> None:
    path = MODELS / "leaf_outline" / "leaf_outline.tflite"
    content = path.read_bytes()
    buffers = [bytes(each.data) for each in parse_tflite(content, path).buffers if each.data is not None]
    found = [content[start:end] for start, end in tensor_spans(path.name, content)]
    assert len(found) > 1
    assert sorted(found) == sorted(each for each in buffers if len(each) >= LARGE_BYTES)


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite"])
@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_file_has_no_tensors_outside_itself(name: str, seed: int) -> None:
    """Bits of a real file turn over, or it ends early; it is cut all the same."""
    path = MODELS / "fashion" / name.replace("model", "fashion")
    dice = np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    for place in dice.integers(0, min(len(content), 4000 if seed % 2 else len(content)), 40):
        content[place] ^= 1 << dice.integers(8)
    damaged = bytes(content[: dice.integers(1, len(content))] if seed % 3 == 0 else content)
    spans = tensor_spans(name, damaged)
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(edges)
    assert all(0 <= edge <= len(damaged) for edge in edges)
    assert sum(chunk.plain_bytes for chunk, _ in cut_bytes(name, damaged)) == len(damaged)


def test_what_is_no_model_has_no_tensors() -> None:
    assert tensor_spans("model.onnx", NOISE[:50_000]) == []
    assert tensor_spans("model.tflite", NOISE[:50_000]) == []
    assert tensor_spans("labels.txt", network(drawn(1, 10_000))) == []
    assert tensor_spans("model.onnx", b"") == tensor_spans("model.tflite", b"") == []


def test_a_changed_layer_stays_a_changed_layer() -> None:
    """Of three large tensors one is trained again, and the small ones and the text before them get other lengths."""
    fixed, bias = [drawn(1, 60_000), drawn(2, 50_000)], drawn(5, 40)
    before = network(fixed[0], bias, fixed[1], drawn(3, 25_000), drawn(9, 1), doc="first")
    after = network(fixed[0], bias + 1, fixed[1], drawn(4, 25_600), drawn(9, 1), doc="trained again")
    old = {chunk.id for chunk, _ in cut_bytes("model.onnx", before)}
    new = [chunk for chunk, _ in cut_bytes("model.onnx", after) if chunk.id not in old]
    assert sum(chunk.plain_bytes for chunk in new) <= 25_600 * 4 + 2_000
