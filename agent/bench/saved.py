"""Records in files: what `agent bench --out` leaves, and `--compare` takes.

A file holds one record as a JSON object, or a list of them (a sweep, a comparison).
"""

import dataclasses
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from agent.bench.comparing import Compared
from agent.errors import ConfigurationError
from wire.trial import TrialRecord


def as_json(records: Sequence[TrialRecord]) -> str:
    """Return one record as an object, several as a list."""
    dumped = [record.model_dump(mode="json") for record in records]
    return json.dumps(dumped[0] if len(dumped) == 1 else dumped, indent=2)


def compared_json(records: Sequence[TrialRecord], compared: Compared) -> str:
    """Return the records and the comparison as one object; an interval without an end is null."""
    found = compared.comparison
    numbers = {} if found is None else dataclasses.asdict(found)
    said = {
        **{name: None if value in (math.inf, -math.inf) else value for name, value in numbers.items()},
        "verdict": compared.verdict,
        "interleaved": compared.interleaved,
        "interleaving": compared.ours.conditions.get("interleaving", "processes") if compared.interleaved else None,
        "round_ratios": [math.exp(value) for value in compared.log_ratios],
        "against": compared.against,
        "doubts": compared.doubts,
    }
    return json.dumps({"records": [one.model_dump(mode="json") for one in records], "comparison": said}, indent=2)


def check_place(path: Path) -> None:
    """Refuse a place where no file can be written, before minutes are spent on what would stand in it.

    Raises:
        ConfigurationError: Its folder is not there, or may not be written to.
    """
    if not path.absolute().parent.is_dir():
        raise ConfigurationError(f"{path}: there is no folder {path.absolute().parent}: make it, or name another file")
    if not os.access(path.absolute().parent, os.W_OK):
        raise ConfigurationError(f"{path}: the folder may not be written to: name a file elsewhere")


def save(records: Sequence[TrialRecord], path: Path) -> None:
    """Write the records; the file is whole or as it was.

    Raises:
        ConfigurationError: It cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(as_json(records) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as exc:
        partial.unlink(missing_ok=True)
        raise ConfigurationError(f"the record cannot be written to {path}: {exc.strerror}") from exc


def load(path: Path) -> TrialRecord:
    """Return the one record in the file at `path`.

    Raises:
        ConfigurationError: It cannot be read, is no record, or holds several.
    """
    try:
        content = json.loads(path.read_bytes())
        found = content if isinstance(content, list) else [content]
        if len(found) != 1:
            raise ConfigurationError(f"{path} holds {len(found)} records: give a file with one, as `--out` writes it")
        return TrialRecord.model_validate(found[0])
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc.strerror}") from exc
    except (ValueError, ValidationError) as exc:
        first = str(exc).splitlines()[0]
        raise ConfigurationError(f"{path} is no record as `agent bench --out` writes it: {first}") from exc
