"""How sparsity grows while a network is trained: polynomial decay from an initial to a final ratio of zeros.

Decides: the ratio at each step and the steps at which masks are chosen anew. Leaves out: which weights go, and
training. Pure; the standard library alone, so that a training environment can import it too.

>>> schedule = PolynomialDecay(begin=100, end=500, frequency=50)
>>> schedule.sparsity(100), schedule.sparsity(300), schedule.sparsity(500)
(0.0, 0.4375, 0.5)
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PolynomialDecay:
    """Ratio of zeros: final + (initial - final) * (1 - (step - begin) / (end - begin)) ** power.

    Fast at first, where many weights can go unnoticed, then ever slower. begin, end: steps of the optimiser, counted
    from 0; before `begin` nothing is pruned, from `end` on the ratio is `final`. frequency: steps between two choices
    of masks. initial, final: ratios, 0 to below 1.

    Raises:
        ValueError: Bounds or ratios that make no schedule.
    Source: Zhu and Gupta 2017, arXiv:1710.01878, equation 1 (power 3).
    """

    begin: int
    end: int
    frequency: int
    initial: float = 0.0
    final: float = 0.5
    power: float = 3.0

    def __post_init__(self) -> None:
        if not 0 <= self.begin < self.end:
            raise ValueError(f"begin {self.begin}, end {self.end}: 0 <= begin < end is needed")
        if self.frequency < 1:
            raise ValueError(f"frequency {self.frequency}: at least 1 step lies between two choices of masks")
        if not 0.0 <= self.initial <= self.final < 1.0:
            raise ValueError(f"initial {self.initial}, final {self.final}: 0 <= initial <= final < 1 is needed")
        if not self.power > 0:
            raise ValueError(f"power {self.power}: it is greater than 0")

    def sparsity(self, step: int) -> float:
        """Return the ratio of zeros that weights have after a step; 0 before `begin`."""
        if step < self.begin:
            return 0.0
        left = max(0.0, 1.0 - (step - self.begin) / (self.end - self.begin))
        return self.final + (self.initial - self.final) * float(left**self.power)

    def chooses_at(self, step: int) -> bool:
        """Return whether masks are chosen anew after a step: every `frequency` steps, and at `end` in any case."""
        within = self.begin <= step <= self.end
        return within and ((step - self.begin) % self.frequency == 0 or step == self.end)
