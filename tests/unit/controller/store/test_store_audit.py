import pytest
from sqlalchemy import text

from controller.store import audit
from controller.store.database import Store


@pytest.fixture
def chain(store: Store) -> Store:
    for number in range(4):
        with store.begin() as session:
            audit.append(session, "operator:ann", "rollout.paused", "r-1", {"n": number, "x": 0.1}, now_s=1.5 + number)
    return store


def test_an_untouched_chain_holds(chain: Store) -> None:
    with chain.read() as session:
        verdict = audit.verify(session)
        assert (verdict.holds, verdict.rows, verdict.head) == (True, 4, audit.head(session))
        assert [row.detail["n"] for row in audit.entries(session, "r-1", limit=2)] == [2, 3]


@pytest.mark.parametrize(
    ("change", "broken_at"),
    [
        ("UPDATE audit SET actor = 'operator:eve' WHERE id = 2", 2),
        ("UPDATE audit SET detail = '{}' WHERE id = 3", 3),
        ("UPDATE audit SET at_s = 99 WHERE id = 1", 1),
        ("DELETE FROM audit WHERE id = 2", 3),
        ("UPDATE audit SET id = 9 WHERE id = 1", 2),
    ],
)
def test_a_change_is_found_where_it_was_made(chain: Store, change: str, broken_at: int) -> None:
    with chain.engine.begin() as connection:
        connection.execute(text(change))
    with chain.read() as session:
        assert audit.verify(session).broken_at == broken_at


def test_a_cut_end_shows_against_the_head_that_was_kept(chain: Store) -> None:
    with chain.read() as session:
        kept = audit.head(session)
    with chain.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit WHERE id = 4"))
    with chain.read() as session:
        verdict = audit.verify(session)
    assert verdict.holds
    assert verdict.head != kept
