import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from controller.errors import ConfigurationError
from controller.store.database import Store
from controller.store.tables import Base
from controller.store.upgrade import HEAD, alembic_config, current_revision, upgrade


def test_the_migrations_make_what_the_tables_say(store: Store) -> None:
    with store.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert differences == []


def test_the_known_head_is_the_migrations_head() -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [HEAD]


def test_upgrading_again_changes_nothing(store: Store) -> None:
    upgrade(store.engine)
    assert current_revision(store.engine) == HEAD


def test_a_database_of_a_newer_release_is_refused(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="another release"):
        upgrade(store.engine)
