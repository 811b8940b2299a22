"""Every number that the fleet-wide view decides by, with its reason.

Decides: nothing by itself. Constants are first values and are meant to be calibrated on fleets.
"""

from math import log

CONFIDENCE = 0.95
"""Of each bound by itself, as of the percentiles' bounds: the two together are to hold with 90 %."""

FEWEST_DEVICES = 2
"""One device says nothing of how devices differ."""

FEW_DEVICES = 5
"""Below it a median of absolute deviations is mostly chance: the looser rule and its wording hold."""

CRITICAL_DEVIATION = ((5, 8.0), (6, 6.0), (8, 5.2), (10, 4.6), (12, 4.4), (15, 4.3), (20, 4.0), (50, 3.8))
"""(devices, deviation from the median in robust standard deviations) that the largest of so many normal values passes
once in 20 classes; simulated with 100,000 classes each (odd numbers of devices need a little more, and have it)."""

SUSPECT_LOG = log(1.15)
"""A device that stands alone is named from a difference on that matters to anybody: 15 %, some four times what boards
of one type differ by."""

SMALLEST_LOG = log(1.05)
"""Below 5 % no device is named, however alike the rest are."""

ALONE_MULTIPLE = 2.0
"""One stands alone if it is twice as far from the median as the next: else they just differ."""

SMALLEST_OF_VARIANT_LOG = log(1.10)
"""The same for one variant on one device: there are several variants, each a chance to be wrong."""

NOISE_MULTIPLE = 4.0
"""A deviation is to be this many of its own standard errors: a few processes' chance is not a device's fault."""

SPREAD_FLOOR_LOG = 0.01
"""Boards of one type that agree better than 1 % agree by chance: the robust spread is taken as at least that."""

AGREEING_SHARE = 0.5
"""A device is slow, rather than a variant on it, where at least half of the variants show half of the control's
deviation."""

HOT_CELSIUS = 75.0
HOTTER_CELSIUS = 10.0
"""Hot by itself (boards begin to throttle at 80 to 85), or by so much more than the class while doing the same."""

DRIFT_RATIO = 0.03
"""Latency's rise from the first to the last third of the timed loop, as in the protocol."""

UNDER_VOLTAGE_BITS = 1 << 0 | 1 << 16
HEAT_BITS = 0b1110 | 0b1110 << 16
"""Raspberry Pi firmware: bit 0 under-voltage now, 16 since the start; 1 to 3 capped, throttled, soft limit now."""

CLOCK_LIMIT_RATIO = 0.97
CLOCK_RATIO = 0.90
"""Below this share of the class's it is another clock: limits are settings, running clocks come and go."""

BUSY_PRESSURE_PERCENT = 10.0
BUSY_STEAL_RATIO = 0.02
BUSY_DISTURBED_RATIO = 0.05
"""PSI cpu `some`, stolen share, and share of disturbed samples: each by itself enough to explain a few percent. The
quiet threshold of a measurement's start is far lower (2 %); this is the level that explains an outlier."""

COLD_LOAD_RATIO = 2.0
WARM_LOAD_RATIO = 1.3
"""A card is slow where its cold load takes twice the class's while the warm one does not."""

LARGEST_BOUND_RATIO = 20.0
"""A bound further than this from its value is no bound: it is not given."""
