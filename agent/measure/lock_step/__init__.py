"""Two variants in lock-step: a process of either, taking turns block by block, so that what wanders is in both alike.

Decides: when that can be (`room.py`), what a round is (`rounds.py`), whose turn it is (`turns.py`), what a process is
told and how it may end (`player.py`), and which ratio comes of it (`ratios.py`). Leaves out: what a turn is in the
process that takes it (`agent/measure/scenarios/turns.py`), and what rounds say (`wire.statistics`). Light: no numpy.
"""
