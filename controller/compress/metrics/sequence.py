"""Sequences of tokens: token accuracy, token error rate and, where words can be told apart, word error rate.

Three forms of answers, by `judging`. As they are, each labelled position is answered by its best token (tagging). With
`end`, what stands behind that token counts no more (generated text). With `decode: ctc` repeats are merged and blanks
dropped (speech). Where positions of answer and label need not meet (the last two), accuracy is 1 - token error rate.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from controller.choose.intervals.evidence import Ratios
from controller.choose.intervals.jackknife import mean_ratio, ratio_pseudo_values, t_interval
from controller.choose.intervals.proportion import CONFIDENCE, wilson
from controller.compress.metrics.worth import Array, Asked, Worth, between
from controller.models.labels.arrays import NO_CLASS
from controller.models.labels.kinds import Judging

Tokens = NDArray[np.int64]


def judge_sequence(asked: Asked) -> Worth:
    """Judge scores of tokens, (n, length, tokens).

    Raises:
        ValueError: Outputs of another shape.
    """
    if asked.outputs.ndim != 3:
        raise ValueError(f"sequences need outputs (n, length, tokens), the model gives {asked.outputs.shape}")
    judging, best = asked.samples.judging, asked.outputs.argmax(axis=2)
    pairs = [decoded(given, true, judging) for given, true in zip(best, asked.samples.labels, strict=True)]
    errors, lengths = _distances(pairs)
    aligned = judging.decode == "argmax" and judging.end is None
    right = _meeting(pairs) if aligned else lengths - errors
    shares = Ratios(right[:, np.newaxis], lengths[:, np.newaxis], lengths[:, np.newaxis] > 0)
    exact = int((errors == 0).sum())
    metrics = {"token_accuracy": mean_ratio(shares), "token_error_rate": float(errors.sum() / lengths.sum())}
    if len(pairs) > 1:
        metrics |= between("token_accuracy", t_interval(ratio_pseudo_values(shares), CONFIDENCE))
    if judging.word_separator is not None:
        words = [(in_words(one, judging.word_separator), in_words(two, judging.word_separator)) for one, two in pairs]
        metrics["word_error_rate"] = word_error_rate(words)
    metrics |= {"exact_ratio": exact / len(pairs), **between("exact_ratio", wilson(exact, len(pairs)))}
    return Worth({**metrics, "tokens": float(lengths.sum())}, shares)


def decoded(given: Array, true: Array, judging: Judging) -> tuple[Tokens, Tokens]:
    """Return the tokens that count of an answer (length,) and of its label."""
    known = true != NO_CLASS
    wanted = true[known]
    if judging.decode == "ctc":
        kept = np.append(True, given[1:] != given[:-1]) & (given != judging.blank)
        answer = given[kept]
    elif judging.end is not None:
        answer = given
    else:
        padded = np.full(len(true), NO_CLASS, dtype=np.int64)
        padded[: len(given)] = given[: len(true)]
        answer = padded[known]
    return _ended(answer, judging.end).astype(np.int64), _ended(wanted, judging.end).astype(np.int64)


def edit_distance(given: Sequence[int] | Tokens, true: Sequence[int] | Tokens) -> int:
    """Return the fewest tokens that are to be put in, taken out or changed to make one of the other.

    Source: Levenshtein, Soviet Physics Doklady 10 (1966) 707-710.
    """
    one, other = np.asarray(given), np.asarray(true)
    row = np.arange(len(other) + 1)
    for count, token in enumerate(one, start=1):
        changed = np.append(count, np.minimum(row[1:] + 1, row[:-1] + (other != token)))
        # Putting tokens in: each place costs one more than the one before it.
        row = np.minimum.accumulate(changed - np.arange(len(changed))) + np.arange(len(changed))
    return int(row[-1])


def in_words(tokens: Tokens, separator: int) -> list[tuple[int, ...]]:
    """Return the words between separators; none of them is empty."""
    places = np.flatnonzero(tokens == separator)
    parts = np.split(tokens, places)
    return [word for part in parts if (word := tuple(part[part != separator].tolist()))]


def word_error_rate(pairs: Sequence[tuple[list[tuple[int, ...]], list[tuple[int, ...]]]]) -> float:
    """Return words that are to be put in, taken out or changed, of all words of the labels; 0 where these have none."""
    numbers: dict[tuple[int, ...], int] = {}
    errors = words = 0
    for given, true in pairs:
        one, other = ([numbers.setdefault(word, len(numbers)) for word in side] for side in (given, true))
        errors, words = errors + edit_distance(one, other), words + len(other)
    return errors / words if words else 0.0


def _ended(tokens: Array, end: int | None) -> Array:
    if end is None or not (tokens == end).any():
        return tokens
    return tokens[: int((tokens == end).argmax())]


def _distances(pairs: Sequence[tuple[Tokens, Tokens]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    errors = np.array([edit_distance(given, true) for given, true in pairs], dtype=np.float64)
    return errors, np.array([len(true) for _, true in pairs], dtype=np.float64)


def _meeting(pairs: Sequence[tuple[Tokens, Tokens]]) -> NDArray[np.float64]:
    return np.array([(given == true).sum() for given, true in pairs], dtype=np.float64)
