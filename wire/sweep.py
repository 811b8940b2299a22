"""One trial at several thread counts and batch sizes: a request for each point. Pure.

Decides: which points there are and what they are named. Leaves out: which point is the best one.

    sweep(request, threads=(1, 2, 4))            # trials `leaf-t1`, `leaf-t2`, `leaf-t4`
"""

from collections.abc import Sequence

from wire.trial import TrialRequest


def sweep(request: TrialRequest, threads: Sequence[int] = (), batches: Sequence[int] = ()) -> tuple[TrialRequest, ...]:
    """Return a request for every pair of thread count and batch size, in that order; without any, `request` itself.

    Points of a sweep are measured against each other: they are of one group, that of `request` or its trial's name.

    Args:
        request: What all points share.
        threads: Engine threads, each at least 1.
        batches: Queries at once; only the scenario `offline` takes them (`multi_stream` has its `streams`).
    Raises:
        ValueError: Batches in another scenario, a number that a request refuses, or one that stands twice.
    """
    if batches and request.scenario != "offline":
        raise ValueError(f"a sweep over batches belongs to the scenario offline, not to {request.scenario}")
    for name, numbers in (("threads", threads), ("batches", batches)):
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"{name} {list(numbers)} hold a number twice")
    points = [(count, size) for count in (threads or (None,)) for size in (batches or (None,))]
    return tuple(_point(request, count, size) for count, size in points)


def _point(request: TrialRequest, threads: int | None, batch: int | None) -> TrialRequest:
    if threads is None and batch is None:
        return request
    fields = request.model_dump()
    suffix = "" if threads is None else f"-t{threads}"
    if threads is not None:
        fields["threads"] = threads
    if batch is not None:
        fields["settings"] = {**fields["settings"], "batch": batch}
        suffix += f"-b{batch}"
    fields |= {"trial": request.trial + suffix, "group": request.group or request.trial}
    return TrialRequest.model_validate(fields)
