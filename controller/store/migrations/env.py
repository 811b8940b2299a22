"""Alembic's entry point: runs the migrations on the connection that `upgrade` passes."""

from alembic import context

from controller.store.tables import Base


def run() -> None:
    """Run inside the caller's transaction. `render_as_batch`: SQLite alters a table by copying it."""
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
    )
    with context.begin_transaction():
        context.run_migrations()


run()
