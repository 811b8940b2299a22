"""Bring a database to this release's schema, with Alembic, from inside the program.

Decides: when migrations run. Leaves out: what they do (`migrations/versions`).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect, text

from controller.errors import ConfigurationError

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0003"
"""Newest migration of this release; a test holds it to the migrations. Saves importing Alembic on each command."""

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Run the migrations that are missing; nothing when there are none.

    With an engine that takes the write lock at once, two processes that open a new workspace do not collide.

    Raises:
        ConfigurationError: The database is of a newer release, or was not made by this program.
    """
    if current_revision(engine) == HEAD:
        return
    from alembic import command
    from alembic.util import CommandError

    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as exc:
            raise ConfigurationError(
                f"the database {engine.url.render_as_string()} is of another release ({exc}): "
                "use that release, or restore a backup of this one"
            ) from exc


def current_revision(engine: Engine) -> str | None:
    """Return the migration that the database stands at, or None for an empty database."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def alembic_config() -> "Config":
    """Return Alembic's configuration: where the migrations lie, and no ini file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
