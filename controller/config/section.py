"""Base of every part of a YAML file: unknown fields refused, values frozen, no NaN and no infinity.

An infinite limit could never fire, and comparisons with NaN are false whatever the limit: both are refused here, once.
"""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping in a YAML file. Attribute docstrings become the descriptions of the published schema."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, protected_namespaces=()
    )
