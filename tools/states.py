"""The states of a device as a table and as a picture, both from the protocol's own transitions.

Decides: where each state stands in the picture. Leaves out: the states (`wire/device_state.py`) and what they mean
(`docs/reference/codes.toml`).
"""

from collections.abc import Iterator, Mapping

from wire.device_state import FAILURES, LEGAL, TERMINAL, State

NEW_GENERATION = frozenset({State.CHECK, State.HELD, State.REMOVED})
"""What a new document leads to, from every state before `switch` and every terminal one: said in words, not drawn."""

PAGE = """\
# States of a workload on a device

![The states and what may follow them](../images/states.svg)

One machine for each workload. The state is on the disk before its work begins, and reported when it is entered. The
picture leaves out what a document of a new generation does: from `idle`, from every state before `switch`, and from
every state that ends a generation it leads to `check` (`run`), `held` (`hold`) or `removed` (`remove`). In `switch`,
`probation` and `rollback` it waits until the change is finished or taken back.

{note}
| state | goes on to, by itself | ends a generation | counts against a rollout | what it means |
|---|---|---|---|---|
{rows}
"""

WIDTH, STEP, BOX_WIDTH, BOX_HEIGHT = 760, 58, 132, 32
LEFT, MIDDLE, RIGHT = 210, 470, 650
CHAIN = (
    State.IDLE,
    State.CHECK,
    State.WAIT,
    State.DOWNLOAD,
    State.VERIFY,
    State.STAGED,
    State.SELFTEST,
    State.SHADOW,
    State.SWITCH,
    State.PROBATION,
    State.COMMITTED,
)
BESIDE = {
    State.INCOMPATIBLE: (MIDDLE, 2.0),
    State.FAILED: (MIDDLE, 4.0),
    State.UNFIT: (MIDDLE, 6.5),
    State.ROLLBACK: (MIDDLE, 8.5),
    State.ROLLED_BACK: (RIGHT, 8.5),
    State.HELD: (RIGHT, 0.5),
    State.REMOVED: (RIGHT, 1.5),
}
PLACES: dict[State, tuple[float, float]] = {
    **{state: (LEFT, 36 + STEP * row) for row, state in enumerate(CHAIN)},
    **{state: (x, 36 + STEP * row) for state, (x, row) in BESIDE.items()},
}
STYLE = """\
text { font: 13px sans-serif; text-anchor: middle; fill: #1b1b1b } rect { rx: 6; stroke: #444; fill: #f4f1e8 }
.end rect { fill: #dcebd5 } .fault rect { fill: #f3d9d3 } path { fill: none; stroke: #555; marker-end: url(#to) }
.sub { font-size: 11px; fill: #555 }"""


def page(note: str, meanings: Mapping[str, str]) -> str:
    """Return the table of all states.

    Raises:
        KeyError: A state has no meaning.
    """
    return PAGE.format(note=note, rows="\n".join(_row(state, meanings[state.value]) for state in State))


def steps(state: State) -> list[State]:
    """Return what may follow a state beside what a new generation leads to, in the order of the states."""
    return [after for after in State if after in LEGAL[state] and after not in NEW_GENERATION | {state}]


def picture() -> str:
    """Return the picture, as SVG."""
    height = 36 + STEP * (len(CHAIN) - 1) + 40
    body = [
        f'<rect width="{WIDTH}" height="{height}" style="fill: #fff; stroke: none; rx: 0"/>',
        *_arrows(),
        *(_box(state) for state in State),
        _note(),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="States of a workload on a device">\n'
        f"<!-- Written by `make docs` from wire/device_state.py. -->\n<style>{STYLE}</style>\n"
        '<defs><marker id="to" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" style="fill: #555; stroke: none; marker-end: none"/></marker></defs>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _row(state: State, meaning: str) -> str:
    following = ", ".join(f"`{after.value}`" for after in steps(state)) or ""
    marks = ["yes" if state in group else "" for group in (TERMINAL, FAILURES)]
    return f"| `{state.value}` | {following} | {marks[0]} | {marks[1]} | {meaning} |"


def _box(state: State) -> str:
    x, y = PLACES[state]
    kind = "fault" if state in FAILURES else "end" if state in TERMINAL else "work"
    return (
        f'<g class="{kind}"><rect x="{x - BOX_WIDTH / 2:g}" y="{y - BOX_HEIGHT / 2:g}" width="{BOX_WIDTH}" '
        f'height="{BOX_HEIGHT}"/><text x="{x:g}" y="{y + 4:g}">{state.value}</text></g>'
    )


def _arrows() -> Iterator[str]:
    yield _arrow(State.IDLE, State.CHECK)
    for state in State:
        yield from (_arrow(state, after) for after in steps(state))


def _arrow(before: State, after: State) -> str:
    (x0, y0), (x1, y1) = PLACES[before], PLACES[after]
    half_x, half_y = BOX_WIDTH / 2, BOX_HEIGHT / 2
    if x0 == x1 and y1 - y0 == STEP:
        return f'<path d="M{x0:g} {y0 + half_y:g} L{x1:g} {y1 - half_y:g}"/>'
    if x0 == x1:  # past other states, or back: around on the left
        out = 30 + 10 * abs(y1 - y0) / STEP
        start, end = x0 - half_x, x1 - half_x
        return f'<path d="M{start:g} {y0:g} C{start - out:g} {y0:g} {end - out:g} {y1:g} {end:g} {y1:g}"/>'
    return f'<path d="M{x0 + half_x:g} {y0:g} L{x1 - half_x:g} {y1:g}"/>'


def _note() -> str:
    lines = ("a document of a new generation", "leads to check, held or removed")
    y = PLACES[State.REMOVED][1] + 36
    return "\n".join(
        f'<text class="sub" x="{RIGHT}" y="{y + 15 * number:g}">{line}</text>' for number, line in enumerate(lines)
    )
