"""What a variant's outputs are worth: a metric for each kind of model, and the distance to the baseline's outputs.

Decides: the formulas. Leaves out: who computed the outputs (`evaluate.py`), intervals of what was lost
(`controller/choose/intervals`) and what is good enough (`controller/choose`).

>>> import numpy as np
>>> classification_metrics(np.array([0, 1, 1]), np.array([0, 1, 0]), 2)["accuracy"]
0.6666666666666666
"""

from controller.compress.metrics.classification import classification_metrics, per_class_metrics
from controller.compress.metrics.outputs import cosines, sqnr_db, top1_agreement_ratio
from controller.compress.metrics.plugins import SCORE_NAMES, judge, score_name
from controller.compress.metrics.regression import per_output_metrics, regression_metrics
from controller.compress.metrics.worth import Asked, Worth

__all__ = [
    "SCORE_NAMES", "Asked", "Worth", "classification_metrics", "cosines", "judge", "per_class_metrics",
    "per_output_metrics", "regression_metrics", "score_name", "sqnr_db", "top1_agreement_ratio",
]  # fmt: skip
