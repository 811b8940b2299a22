"""Which processors there are, and what an ARM one's programs read of it."""

from controller.compress.probe.processors import PROCESSORS, cpuinfo


def test_names_are_those_of_the_documents() -> None:
    assert list(PROCESSORS) == ["haswell", "cortex-a72", "cortex-a76"]
    assert [each.name for each in PROCESSORS.values()] == list(PROCESSORS)


def test_the_dot_product_is_what_tells_the_arm_processors_apart() -> None:
    older, newer = (cpuinfo(PROCESSORS[name]) for name in ("cortex-a72", "cortex-a76"))
    assert "asimddp" not in older
    assert " asimddp" in newer
    assert "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid\n" in older
    assert [line for line in newer.splitlines() if line.startswith("CPU part")] == ["CPU part\t: 0xd0b"]
    assert newer.endswith("\n\n")
