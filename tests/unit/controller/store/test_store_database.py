import threading

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateTable

from controller.errors import Busy, DiskFull
from controller.store import audit, tables
from controller.store.database import Store


def test_sqlite_is_set_up_to_keep_what_it_was_given(store: Store) -> None:
    with store.engine.connect() as connection:
        found = {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "foreign_keys")}
        synchronous = connection.execute(text("PRAGMA synchronous")).scalar()
    assert found == {"journal_mode": "wal", "foreign_keys": 1}
    assert synchronous == 2


def test_an_error_takes_the_whole_transaction_back(store: Store) -> None:
    def write_and_fail() -> None:
        with store.begin() as session:
            audit.append(session, "test", "a", "b", {}, now_s=1.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    with store.read() as session:
        assert audit.verify(session).rows == 0


def test_a_reference_to_nothing_is_refused(store: Store) -> None:
    with pytest.raises(IntegrityError), store.begin() as session:
        session.add(tables.Choice(deployment="none", device_class="c", document={}))


def test_a_full_disk_is_named_and_nothing_is_kept(store: Store) -> None:
    def write_much() -> None:
        with store.begin() as session:
            pages = session.execute(text("PRAGMA page_count")).scalar_one()
            session.execute(text(f"PRAGMA max_page_count={pages + 2}"))
            audit.append(session, "test", "a", "b", {"much": "x" * 100_000}, now_s=1.0)

    with pytest.raises(DiskFull, match="free some space"):
        write_much()
    with store.read() as session:
        assert audit.verify(session).rows == 0


def test_two_writers_wait_for_each_other(store: Store) -> None:
    def write(name: str) -> None:
        for number in range(20):
            with store.begin() as session:
                audit.append(session, name, "a", str(number), {}, now_s=1.0)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as session:
        verdict = audit.verify(session)
    assert (verdict.rows, verdict.holds) == (40, True)


def test_a_lock_that_is_never_given_up_is_named(store: Store) -> None:
    other = Store(store.url, busy_timeout_ms=1)
    with store.begin() as session:
        audit.append(session, "test", "a", "b", {}, now_s=1.0)
        with pytest.raises(Busy, match="another process writes"), other.begin() as second:
            audit.append(second, "test", "a", "b", {}, now_s=1.0)
    other.close()


def test_the_tables_can_be_made_on_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    statements = [str(CreateTable(table).compile(dialect=dialect)) for table in tables.Base.metadata.sorted_tables]
    assert len(statements) == len(tables.Base.metadata.tables)
    assert any("BIGINT" in statement for statement in statements)
