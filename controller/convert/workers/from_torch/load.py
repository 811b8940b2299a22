"""Make a network from a factory and a state, or from an exported program, without unpickling anything.

Decides: which files are read and how. Leaves out: what is done with the network (`source.py`).
"""

import importlib.util
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.convert.workers.frame import Unusable

if TYPE_CHECKING:
    import torch


def module(factory: str, state: str | None, root: Path) -> "torch.nn.Module":
    """Return the network that `FILE.py:FUNCTION` makes, with the weights of the state file, or as it is made.

    Raises:
        Unusable: The file, the function or the state is missing, or they do not fit each other.
    """
    import torch

    network = _function(factory, root)()
    if not isinstance(network, torch.nn.Module):
        raise Unusable(f"{factory} gives {type(network).__name__}; it has to give a torch.nn.Module")
    try:
        if state is not None:
            network.load_state_dict(_state(root / state))
    except RuntimeError as exc:
        raise Unusable(f"the weights in {state} do not fit what {factory} makes: {exc}") from exc
    return network.float().eval()


def program(path: Path) -> "torch.nn.Module":
    """Return the network of an exported program (`torch.export.save`).

    Raises:
        Unusable: It is missing, no such file, or can only be read by unpickling.
    """
    import torch

    if not zipfile.is_zipfile(path):
        raise Unusable(f"{path.name} is no exported program; write it with torch.export.save")
    with _no_pickles():
        try:
            return torch.export.load(path).module()
        except (RuntimeError, ValueError, KeyError, AssertionError, zipfile.BadZipFile) as exc:
            raise Unusable(f"{path.name} is no exported program that can be read: {exc}") from exc


def _function(factory: str, root: Path) -> Any:
    file, _, name = factory.partition(":")
    sys.path.insert(0, str(root))  # the factory's file may import its neighbours
    spec = importlib.util.spec_from_file_location("thresher_network", root / file)
    if spec is None or spec.loader is None:
        raise Unusable(f"{factory}: {file} cannot be loaded as Python")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    try:
        spec.loader.exec_module(loaded)
        return getattr(loaded, name)
    except (ImportError, SyntaxError, AttributeError, FileNotFoundError) as exc:
        raise Unusable(
            f"{factory} cannot be loaded ({exc}); the file may import the standard library, torch, and what lies "
            f"beside it"
        ) from exc


def _state(path: Path) -> Any:
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as exc:  # torch's own words advise to unpickle all the same
        raise Unusable(
            f"{path.name} holds objects that are no tensors, a whole module perhaps; they are never unpickled. Write "
            f"the weights alone: torch.save(network.state_dict(), …), or safetensors.torch.save_file"
        ) from exc
    except (SafetensorError, RuntimeError, EOFError, FileNotFoundError) as exc:
        raise Unusable(
            f"{path.name} holds no weights that can be read ({exc}); write it with safetensors.torch.save_file, or as "
            f"torch.save(network.state_dict(), …)"
        ) from exc


@contextmanager
def _no_pickles() -> Iterator[None]:
    """Keep torch from unpickling: reading a program, it would wherever the file asks for that."""
    import pickle

    import torch
    from torch.export.pt2_archive import _package

    def weights_alone(*arguments: Any, **options: Any) -> Any:
        return original(*arguments, **{**options, "weights_only": True})

    class Refusing:
        UnpicklingError = pickle.UnpicklingError

        @staticmethod
        def loads(*_: Any, **__: Any) -> Any:
            raise Unusable("the program holds objects that are no tensors; export it without them")

    original, original_pickle = torch.load, _package.pickle
    torch.load, _package.pickle = weights_alone, Refusing
    try:
        yield
    except pickle.UnpicklingError as exc:
        raise Unusable(f"the program holds objects that are no tensors; export it without them ({exc})") from exc
    finally:
        torch.load, _package.pickle = original, original_pickle
