"""Windows of a series: statistics of one, many overlapping ones cut from a recording, and a ring of the last points.

All statistics are float64. What is carried from one window to the next is only ever added to, never taken off again:
a value of 1e12 that has left the window leaves no trace in the next one's deviation.
"""
