"""Follow channels through a graph: which weights shrink together, and which channels have to stay.

    traced = trace(parse_onnx(Path("m.onnx")))
    traced.atoms.free(); traced.pieces

Decides: what becomes of an operator without a rule: its inputs keep all channels. Leaves out: the rules (`rules.py`).
After "DepGraph: Towards Any Structural Pruning" (Fang et al., CVPR 2023), here on ONNX operators.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.compress.channels.atoms import Atoms, Channels, Count, Numbers, Piece, Role
from controller.errors import UnusableModel

if TYPE_CHECKING:
    import onnx


@dataclass
class Trace:
    """What is known of a graph while it is followed, in its order.

    values: name -> its channels, for values that can lose some. shapes: name -> axes, -1 where free. constants: name ->
    shape. uses: constant -> how often a rule accounted for it.
    """

    shapes: dict[str, tuple[int, ...]]
    constants: dict[str, onnx.TensorProto]
    atoms: Atoms = field(default_factory=Atoms)
    values: dict[str, Channels] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)
    uses: Counter[str] = field(default_factory=Counter)

    def channels(self, name: str) -> Channels | None:
        return self.values.get(name)

    def rank(self, name: str) -> int:
        return len(self.shapes[name])

    def pin(self, *names: str) -> None:
        """Keep all channels of these values."""
        for name in names:
            if (found := self.values.get(name)) is not None:
                self.atoms.pin(found.atoms)

    def piece(self, tensor: str, axis: int, atoms: Numbers, role: Role) -> None:
        """Note that a weight's axis goes with these atoms; a weight that several operators use joins theirs."""
        for known in self.pieces:
            if (known.tensor, known.axis) == (tensor, axis):
                self.atoms.join(known.atoms, atoms)
        self.pieces.append(Piece(tensor, axis, atoms, role))

    def made(self, name: str, axis: int, atoms: Numbers) -> None:
        self.values[name] = Channels(axis, atoms)


@dataclass(frozen=True)
class Traced:
    """A graph's channels: `pieces` shrink with their atoms, and `counts` state how many there are."""

    atoms: Atoms
    pieces: tuple[Piece, ...]
    counts: tuple[Count, ...]


def trace(model: onnx.ModelProto) -> Traced:
    """Follow the channels of a float model.

    Args:
        model: Its constants as initialisers (`inlined`); not changed.
    Raises:
        UnusableModel: Its shapes cannot be inferred.
    """
    from controller.compress.channels.rules import follow

    found = Trace(_shapes(model), {each.name: each for each in model.graph.initializer})
    for index, operator in enumerate(model.graph.node):
        follow(found, index, operator)
    found.pin(*(each.name for each in model.graph.output))
    _pin_used_elsewhere(found, model)
    return Traced(found.atoms, tuple(found.pieces), tuple(found.counts))


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the values of its Constant operators among the initialisers."""
    import onnx
    from onnx import numpy_helper

    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    kept = []
    for operator in plain.graph.node:
        value = next((each.t for each in operator.attribute if each.name == "value"), None)
        if operator.op_type != "Constant" or value is None:
            kept.append(operator)
            continue
        plain.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(value), operator.output[0]))
    del plain.graph.node[:]
    plain.graph.node.extend(kept)
    return plain


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    except onnx.shape_inference.InferenceError as exc:
        raise UnusableModel(f"shapes cannot be inferred, so channels cannot be followed: {str(exc)[:300]}") from exc
    shapes = {each.name: tuple(each.dims) for each in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            axes = value.type.tensor_type.shape.dim
            shapes.setdefault(value.name, tuple(axis.dim_value if axis.HasField("dim_value") else -1 for axis in axes))
    return shapes


def _pin_used_elsewhere(found: Trace, model: onnx.ModelProto) -> None:
    """Keep the channels of weights that an operator reads which has no rule for them."""
    read = Counter(name for operator in model.graph.node for name in operator.input)
    outputs = {each.name for each in model.graph.output}
    for piece in found.pieces:
        if read[piece.tensor] > found.uses[piece.tensor] or piece.tensor in outputs:
            found.atoms.pin(piece.atoms)
