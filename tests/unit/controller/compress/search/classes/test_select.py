"""Which candidates deserve a device's minutes."""

from controller.compress.search.classes.select import Point, dominates, worthy

MEASURED = Point("known", 0.0, 0.4, 0.3)


def test_the_fastest_of_each_front_come_first() -> None:
    slow, fast, beaten = Point("slow", 0.0, 0.9, 0.1), Point("fast", 0.0, 0.2, 0.9), Point("beaten", 0.01, 0.3, 0.95)
    assert worthy([slow, beaten, fast], [], 3) == ["fast", "slow", "beaten"]
    assert worthy([slow, beaten, fast], [], 1) == ["fast"]
    assert worthy([slow, beaten, fast], [], 0) == []


def test_what_a_measured_one_beats_for_sure_is_left_out() -> None:
    worse = Point("worse", 0.0, 0.5, 0.4)
    perhaps = Point("perhaps", 0.0, 0.43, 0.3)  # 10 % of error would make it faster
    smaller = Point("smaller", 0.0, 0.5, 0.2)
    assert worthy([worse, perhaps, smaller], [MEASURED], 3) == ["perhaps", "smaller"]


def test_an_estimate_that_errs_more_leaves_fewer_out() -> None:
    worse = Point("worse", 0.0, 0.5, 0.4)
    assert worthy([worse], [MEASURED], 1, margin=0.3) == ["worse"]


def test_equal_points_do_not_dominate_each_other() -> None:
    twin = Point("twin", 0.0, 0.4, 0.3)
    assert not dominates(MEASURED, twin)
    assert sorted(worthy([MEASURED, twin], [], 2)) == ["known", "twin"]
