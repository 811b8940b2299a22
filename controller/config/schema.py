"""The JSON Schema of the fleet file, published for editors.

python -m controller.config.schema        writes docs/schemas/fleet.schema.json
"""

import json
from pathlib import Path
from typing import Any

from controller.config.fleet_file import FleetFile

PUBLISHED = Path(__file__).parents[2] / "docs" / "schemas" / "fleet.schema.json"


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a fleet file."""
    found = FleetFile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "Thresher fleet file"}


def schema_text() -> str:
    """Return the schema as it is committed."""
    return json.dumps(schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the published file."""
    PUBLISHED.parent.mkdir(parents=True, exist_ok=True)
    PUBLISHED.write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
