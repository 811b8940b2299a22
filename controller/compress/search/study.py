"""What to try next, and what is known already: Optuna's NSGA-II over the genomes, kept in a file after each candidate.

Decides: the objectives, that what keeps the limit comes before what does not, and that no recipe is tried twice. A
search that was killed goes on where it was. Leaves out: what a candidate is worth (`examine.py`, `clock.py`).

Objectives, all to be small: the loss of accuracy or R2, log of the time over the baseline's (on this host, or in each
class of devices), log of the bytes on the wire over the baseline's. Source: Deb et al., A fast and elitist
multiobjective genetic algorithm: NSGA-II, 2002.

    study = Study.open(folder / "study.log", space, seed=0)
    asked = study.ask()
    study.tell(asked, row)
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from controller.compress.recipe import Recipe
from controller.compress.search.genome import Contradiction, Genome, Space, compose, encode, key_of
from controller.compress.search.halving.prolong import prolonged, shortened

if TYPE_CHECKING:
    import optuna

POPULATION = 16
MUTATED = 4.0
"""Genes that change in a child, on average: most of them belong to passes that its recipe does not have."""

MOST_REPEATS = 200
"""So many candidates in a row that are known already: there is nothing new to be found."""

TO_CHANCE = 20
"""After so many the parents' children are left, and a candidate is drawn from the whole space."""

Outcome = Literal["timed", "over_limit", "hopeless", "failed", "too_long", "cut_off"]
ROW, KEY = "row", "key"


@dataclass(frozen=True)
class ClassTime:
    """A candidate's time in one class of devices. ratio: over its control's; null: the class cannot run it. by: who
    says so. p50_ms: of its queries [ms], where it was measured. because: why it was not measured, or cannot be run."""

    ratio: float | None
    by: Literal["measured", "table", "host", "nobody"]
    p50_ms: float | None = None
    because: str = ""


@dataclass(frozen=True)
class Row:
    """One candidate as it is kept and shown.

    recipe: as it stands in a file (`written`). loss: on the validation samples, a ratio. ratio: its time over the
    baseline's; null where it was not timed. speed_like: the candidate whose time it has, where its graph is the same.
    seed: it is a shipped recipe. classes: where devices are searched for, its time in each class.
    """

    variant: str
    key: str
    recipe: dict[str, Any]
    outcome: Outcome
    because: str = ""
    seed: bool = False
    lineage: tuple[str, ...] = ()
    loss: float | None = None
    score: float | None = None
    sqnr_db: float | None = None
    ratio: float | None = None
    speed_key: str = ""
    speed_like: str = ""
    wire_ratio: float | None = None
    wire_bytes: int | None = None
    disk_bytes: int | None = None
    parameters: int | None = None
    macs: int | None = None
    quantised_ratio: float | None = None
    cached: bool = False
    wall_s: float = 0.0
    notes: tuple[str, ...] = field(default=())
    classes: dict[str, ClassTime] = field(default_factory=dict)

    def as_recipe(self) -> Recipe:
        """Return its recipe."""
        return Recipe.model_validate(self.recipe)


@dataclass(frozen=True)
class Asked:
    """A candidate that is to be tried."""

    number: int
    recipe: Recipe
    key: str
    seed: bool


def opened_journal(path: Path) -> Any:
    """Return Optuna's journal in a file.

    What it is told is with the kernel before it answers, so that a killed process loses nothing; a write that waits for
    the disk each time, as Optuna's own does, would take longer than many a candidate. Who opens it holds the search's
    lock, so that the file needs none. A last line that was cut short, as when the power fails, goes.
    """
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    class Journal(JournalFileBackend):
        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            lines = "".join(f"{json.dumps(log, separators=(',', ':'))}\n" for log in logs)
            with path.open("ab") as file:
                file.write(lines.encode())

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and not (content := path.read_bytes()).endswith(b"\n") and content:
        with path.open("rb+") as file:
            file.truncate(content.rfind(b"\n") + 1)
    return JournalStorage(Journal(str(path)))


class Study:
    """The candidates of one search."""

    def __init__(self, study: optuna.Study, space: Space, seed: int, classes: Sequence[str] = ()) -> None:
        self._study, self._space, self._seed, self._classes = study, space, seed, tuple(classes)
        self._open: dict[int, optuna.Trial] = {}
        self._postponed: dict[str, Recipe] = {}
        self._longer = set[str]()
        self.rows: dict[str, Row] = {}
        for trial in study.get_trials(deepcopy=False):
            if ROW in trial.user_attrs:
                row = row_of(trial.user_attrs[ROW])
                self.rows[row.key] = row

    @classmethod
    def open(cls, path: Path, space: Space, seed: int, longest_s: float = 0.0, *, classes: Sequence[str] = ()) -> Study:
        """Return the study in a file, a new one where there is none.

        Args:
            path: Optuna's journal. A study of another space stays in it untouched.
            space: What is tried.
            seed: Of chance. A search that goes on draws other numbers than it drew before.
            longest_s: What one candidate may take; those that were ended after less are tried again [s].
            classes: Of devices, whose times are objectives in place of this host's.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = opened_journal(path)
        known = {each.study_name: each.n_trials for each in optuna.get_all_study_summaries(storage)}
        chance = (seed + 7919 * known.get(space.digest, 0)) % 2**32
        sampler = optuna.samplers.NSGAIISampler(
            population_size=POPULATION, mutation_prob=min(0.5, MUTATED / len(space.genes)), seed=chance
        )
        directions: list[Literal["minimize", "maximize"] | optuna.study.StudyDirection]
        directions = ["minimize"] * (2 + max(1, len(classes)))
        study = optuna.create_study(
            storage=storage, sampler=sampler, study_name=space.digest, directions=directions, load_if_exists=True
        )
        found = cls(study, space, seed, classes)
        found._take_up()
        found._try_again(longest_s)
        return found

    @property
    def tried(self) -> int:
        """How many candidates came to an end."""
        return len(self.rows)

    @property
    def timed(self) -> list[Row]:
        """Those that keep the limit and were timed."""
        return [row for row in self.rows.values() if row.outcome == "timed"]

    def ask(self, fits: Callable[[Recipe], bool] = lambda _: True) -> Asked | None:
        """Return the next candidate that nobody has tried and that fits; None where no new one is found.

        Recipes to begin with that do not fit wait until they do, or until the next run. Others are trained shortly
        first; what is worth a longer training comes before what is new.
        """
        from optuna.trial import TrialState

        waiting = set(self._under_way())
        for key in [key for key, recipe in self._postponed.items() if fits(recipe)]:
            self._study.enqueue_trial(encode(self._space, self._postponed.pop(key)))
        self._prolong(fits, waiting)
        for repeat in range(MOST_REPEATS):
            if repeat >= TO_CHANCE:
                self._study.enqueue_trial(self._drawn())
            trial = self._study.ask(self._distributions())
            recipe = self._first(self._composed(trial.params))
            key = "" if recipe is None else key_of(recipe)
            new, seed = recipe is not None and key not in {*self.rows, *waiting}, key in self._space.named
            if recipe is not None and new and seed and not fits(recipe):
                self._postponed[key] = recipe
            elif recipe is not None and new and fits(recipe):
                trial.set_user_attr(KEY, key)
                self._open[trial.number] = trial
                return Asked(trial.number, recipe, key, seed)
            self._study.tell(trial, state=TrialState.FAIL)  # known already: it is no member of a population
        return None

    def tell(self, asked: Asked, row: Row, limit: float) -> None:
        """Keep what became of a candidate. One that was cut off is tried again."""
        from optuna.trial import TrialState

        trial = self._open.pop(asked.number)
        if row.outcome == "cut_off":
            self._study.tell(trial, state=TrialState.FAIL)
            self._study.enqueue_trial(trial.params)
            return
        self.rows[row.key] = row
        trial.set_user_attr(ROW, asdict(row))
        if row.loss is None or row.wire_ratio is None:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        trial.set_constraint("loss", row.loss - limit)
        self._study.tell(trial, [row.loss, *times_of(row, self._classes), log(row.wire_ratio)])

    def _take_up(self) -> None:
        """Put the recipes to begin with before all others, and what a killed search had begun."""
        from optuna.trial import TrialState

        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)
            self._study.enqueue_trial(trial.params)
        queued = [trial.system_attrs["fixed_params"] for trial in self._study.get_trials(states=(TrialState.WAITING,))]
        known = {key_of(recipe) for genome in queued if (recipe := self._composed(genome)) is not None}
        for key, recipe in self._space.named.items():
            if key not in self.rows and key not in known:
                self._study.enqueue_trial(encode(self._space, recipe))

    def _try_again(self, longest_s: float) -> None:
        for row in [row for row in self.rows.values() if row.outcome == "too_long" and row.wall_s < longest_s]:
            del self.rows[row.key]
            self._longer.add(row.key)
            self._study.enqueue_trial(encode(self._space, row.as_recipe()))

    def _prolong(self, fits: Callable[[Recipe], bool], waiting: Collection[str]) -> None:
        """Put the candidate that is most worth a longer training before all others."""
        for recipe in prolonged(self._space, list(self.rows.values())):
            key = key_of(recipe)
            if key not in {*waiting, *self._longer, *self._space.named} and fits(recipe):
                self._longer.add(key)
                self._study.enqueue_trial(encode(self._space, recipe))
                return

    def _first(self, recipe: Recipe | None) -> Recipe | None:
        """Return a recipe as it is tried first: one to begin with, or a prolonged one, as it is; others shortly."""
        if recipe is None or key_of(recipe) in {*self._space.named, *self._longer}:
            return recipe
        return shortened(self._space, recipe)

    def _under_way(self) -> Sequence[str]:
        return [str(trial.user_attrs[KEY]) for trial in self._open.values()]

    def _composed(self, genome: Genome) -> Recipe | None:
        try:
            return compose(self._space, genome)
        except Contradiction:
            return None

    def _drawn(self) -> dict[str, Any]:
        random = np.random.default_rng((self._seed, len(self._study.get_trials(deepcopy=False))))
        return {name: choices[int(random.integers(len(choices)))] for name, choices in self._space.genes.items()}

    def _distributions(self) -> dict[str, Any]:
        from optuna.distributions import CategoricalDistribution

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {name: CategoricalDistribution(choices) for name, choices in self._space.genes.items()}


def times_of(row: Row, classes: Sequence[str]) -> list[float]:
    """Return the logarithms of a candidate's times over the baseline's: of each class, or this host's where there are
    none. Where it cannot be run the baseline stays, which takes its own time."""
    if not classes:
        return [log(row.ratio or 1.0)]
    seen = [row.classes.get(name) for name in classes]
    return [log(each.ratio) if each is not None and each.ratio else 0.0 for each in seen]


def name_of(recipe: Recipe) -> str:
    """Return the name of a recipe's variant."""
    return recipe.variant_name(recipe.formats[0])


def written(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as it stands in a file: what is as it would be anyway is left out."""
    return recipe.model_dump(mode="json", exclude_defaults=True)


def row_of(document: dict[str, Any]) -> Row:
    """Return a row as it was kept."""
    lists = {name: tuple(document[name]) for name in ("lineage", "notes")}
    classes = {name: ClassTime(**each) for name, each in document.get("classes", {}).items()}
    return Row(**{**document, **lists, "classes": classes})
