"""The models of the table: the reference models, and networks that other packages bring."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.models.folder import ModelFolder


@dataclass(frozen=True)
class Subject:
    """A model. sources: per source, the folder that has it, or why there is none. about: for people, in words."""

    name: str
    sources: Mapping[str, ModelFolder | str]
    about: Mapping[str, str] = field(default_factory=dict)
