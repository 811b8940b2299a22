"""TensorFlow Lite's interpreter, which two packages bring: what both have in common.

An interpreter's tensors are allocated once, for one query. A model with state keeps it between calls, and the
interpreter's own reset does not give a fresh one (its variables stay): `reset` makes a new interpreter. Each stream of
queries therefore needs an engine of its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from agent.errors import BatchFixed, EngineFailed
from agent.inference.engines.base import Model, TensorInfo, checked_options, named, package_version, threads_of
from agent.inference.engines.delegates import check_delegate_options, load_delegate
from wire.spec import Quantisation

if TYPE_CHECKING:
    from agent.inference.engines.base import Array

DELEGATED = "DELEGATE"
"""The operator that stands for all those which a delegate has taken."""


class InterpreterEngine(ABC):
    """An interpreter with its tensors allocated for a batch of one."""

    name: str
    defaults: ClassVar[Mapping[str, Any]]

    def __init__(self, library: Any, model: Model, chosen: Mapping[str, Any], threads: int) -> None:
        """Make the interpreter; `load` is the way in.

        Raises:
            EngineFailed: It refuses the model, or the delegate does not work.
        """
        self.version = package_version(self.name) or "unknown"
        self.settings: Mapping[str, Any] = {**chosen, "intra_op_threads": threads}
        self._library = library
        self._model = model
        self._chosen, self._threads = chosen, threads
        self._interpreter: Any = self._opened()
        self._inputs = tuple(tensor_info(detail) for detail in self._interpreter.get_input_details())
        self._outputs = tuple(tensor_info(detail) for detail in self._interpreter.get_output_details())
        self._input_indices = [int(detail["index"]) for detail in self._interpreter.get_input_details()]
        self._output_indices = [int(detail["index"]) for detail in self._interpreter.get_output_details()]

    @classmethod
    @abstractmethod
    def import_library(cls) -> Any:
        """Import the interpreter's module.

        Raises:
            EngineUnavailable: Its package is not installed.
            MemoryError: The library does not fit.
        """

    @classmethod
    def compiles(cls, options: Mapping[str, Any]) -> bool:  # noqa: ARG003 - no delegate here takes long to load
        """Return False: loading is quick."""
        return False

    @classmethod
    def load(cls, model: Model, options: Mapping[str, Any], threads: int) -> Self:
        """Make an interpreter of the model and allocate its tensors.

        Raises:
            EngineUnavailable: The package is not installed.
            EngineFailed: It refuses the model or an option, or the delegate does not work and may not be done without.
        """
        chosen = checked_options(cls.name, options, cls.defaults)
        if "delegate" in chosen:
            check_delegate_options(cls.name, chosen, model)
        return cls(cls.import_library(), model, chosen, threads_of(cls.name, options, threads))

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._outputs

    def infer(self, inputs: "Sequence[Array]") -> "list[Array]":
        """Copy the inputs into the interpreter's own tensors and run once; the outputs are copies.

        Raises:
            EngineFailed: The interpreter failed.
        """
        try:
            for index, array in zip(self._input_indices, inputs, strict=True):
                self._interpreter.set_tensor(index, array)
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(index) for index in self._output_indices]
        except (RuntimeError, ValueError) as exc:
            raise EngineFailed(f"{self.name} failed while it ran: {str(exc)[:500]}") from exc

    def take_batch(self, size: int) -> None:
        """Allocate the tensors for `size` queries. Also a model of a fixed shape may let that happen; whether its
        answers stay the same, the caller looks at.

        Raises:
            BatchFixed: The interpreter refuses, or an output does not grow with the inputs.
        """
        try:
            _allocate(self._interpreter, size)
        except (RuntimeError, ValueError) as exc:
            _allocate(self._interpreter, 1)
            raise BatchFixed(f"{self.name} cannot resize the model to {size} queries: {str(exc)[:300]}") from exc
        for value in map(tensor_info, self._interpreter.get_output_details()):
            if value.shape[:1] != (size,):
                _allocate(self._interpreter, 1)
                raise BatchFixed(f"output {value.name!r} has the shape {value.shape} in a batch of {size}")

    def reset(self) -> None:
        """Make a new interpreter, for the batch that the old one was allocated for.

        Raises:
            EngineFailed: It cannot be made.
        """
        first = self._interpreter.get_input_details()[0]["shape"]
        size = int(first[0]) if len(first) else 1
        self._interpreter = self._opened()
        if size != 1:
            _allocate(self._interpreter, size)

    def close(self) -> None:
        self._interpreter = None

    def _opened(self) -> Any:
        try:
            return self._made(self._delegated())
        except (RuntimeError, ValueError) as exc:
            raise EngineFailed(f"{self.name} refuses {named(self._model)}: {str(exc)[:500]}") from exc

    def _delegated(self) -> Any:
        """Return the delegate that is asked for; null where there is none, or where it may be done without."""
        if self._chosen.get("delegate", "none") == "none":
            return None
        try:
            return load_delegate(self._library.load_delegate, self._chosen)
        except EngineFailed as exc:
            self._fall_back(str(exc))
            return None

    def _made(self, delegate: Any) -> Any:
        kinds = self._library.OpResolverType
        resolver = kinds.AUTO if self._chosen["xnnpack"] else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        made = self._library.Interpreter(
            **_where(self._model),
            num_threads=self._threads,
            experimental_op_resolver_type=resolver,
            experimental_delegates=None if delegate is None else [delegate],
        )
        # XNNPACK comes in when tensors are allocated: until then, what is delegated went to the delegate asked for.
        if delegate is not None and _delegated_parts(made) == 0:
            self._fall_back(f"delegate {self._chosen['delegate']} takes none of the model's operators")
        _allocate_one_query(made)
        return made

    def _fall_back(self, because: str) -> None:
        """Note why it goes on without the delegate.

        Raises:
            EngineFailed: It may not.
        """
        if not self._chosen["fallback"]:
            raise EngineFailed(f"{self.name}: {because}; to go on without it, set the option fallback")
        self.settings = {**self.settings, "fell_back": because}


def _where(model: Model) -> dict[str, Any]:
    """A file is mapped, and takes no memory of its own."""
    return {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}


def _delegated_parts(interpreter: Any) -> int:
    # The package has no public way to see the graph after delegates have changed it.
    return sum(detail["op_name"] == DELEGATED for detail in interpreter._get_ops_details())


def _allocate_one_query(interpreter: Any) -> None:
    for detail in interpreter.get_input_details():
        signature = [int(axis) for axis in detail.get("shape_signature", detail["shape"])]
        if signature and signature[0] == -1:
            shape = [1, *(int(axis) for axis in detail["shape"][1:])]
            interpreter.resize_tensor_input(detail["index"], shape, strict=True)
    interpreter.allocate_tensors()


def _allocate(interpreter: Any, size: int) -> None:
    for detail in interpreter.get_input_details():
        interpreter.resize_tensor_input(detail["index"], [size, *(int(axis) for axis in detail["shape"][1:])])
    interpreter.allocate_tensors()


def tensor_info(detail: Mapping[str, Any]) -> TensorInfo:
    """Return what the interpreter tells of an input or output.

    Raises:
        EngineFailed: Its quantisation is none.
    """
    name, shape = str(detail["name"]), tuple(int(axis) for axis in detail["shape"])
    return TensorInfo(name, shape, str(detail["dtype"].__name__), _quantisation(name, *detail["quantization"]))


def _quantisation(name: str, scale: Any, zero_point: Any) -> Quantisation | None:
    """Return how whole numbers stand for others; null where they do not.

    Raises:
        EngineFailed: The file's scale is no number to compute with.
    """
    if float(scale) == 0:
        return None
    try:
        return Quantisation(scale=float(scale), zero_point=int(zero_point))
    except ValueError as exc:
        raise EngineFailed(
            f"tensor {name!r} has the scale {scale}: expected a finite number above 0; convert the model again"
        ) from exc
