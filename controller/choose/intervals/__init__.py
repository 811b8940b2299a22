"""What is known of a metric from a finite evaluation set: intervals of one, bounds on what a variant lost.

Decides: for each kind of answer how a control and a variant that answered the same samples are compared, and what a set
is too small to show. Leaves out: the metrics' formulas for people (`controller/compress/metrics`) and what is done with
a bound (`controller/choose/limits`).
"""
