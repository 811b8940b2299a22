"""The host's screen: who deserves the devices' time."""

from controller.deploy.planning.screen import Screened, rank_variants


def variant(name: str, **changes: object) -> Screened:
    known: dict[str, object] = {
        "engine": "onnxruntime",
        "recipe": {},
        "wire_bytes": 500,
        "loss": 0.0,
        "sqnr_db": 30.0,
        "known_slow": False,
    }
    return Screened(name=name, **{**known, **changes})  # type: ignore[arg-type]


def order(*variants: Screened, largest_loss: float = 0.025) -> list[str]:
    ranks = rank_variants(variants, largest_loss)
    return sorted(ranks, key=lambda name: ranks[name])


def static(scheme: str) -> dict[str, object]:
    return {"passes": [{"simplify": {}}, {"quantize_static": {"scheme": scheme}}]}


def test_beyond_the_accuracy_limit_comes_last_however_small() -> None:
    assert order(variant("tiny", wire_bytes=1, loss=0.2), variant("large", wire_bytes=2000)) == ["large", "tiny"]


def test_the_lesser_evil_first_among_those_beyond() -> None:
    assert order(variant("a", loss=0.5), variant("b", loss=0.1)) == ["b", "a"]


def test_smaller_then_closer() -> None:
    found = order(variant("float", wire_bytes=2000), variant("noisy", sqnr_db=20.0), variant("close", sqnr_db=40.0))
    assert found == ["close", "noisy", "float"]


def test_a_second_of_the_same_family_waits() -> None:
    found = order(
        variant("u8s8-a", recipe=static("u8s8"), sqnr_db=30.0),
        variant("u8s8-b", recipe=static("u8s8"), sqnr_db=29.0),
        variant("s8s8", recipe=static("s8s8"), sqnr_db=20.0),
    )
    assert found == ["u8s8-a", "s8s8", "u8s8-b"]


def test_known_slow_operators_count_against() -> None:
    assert order(variant("dynamic", wire_bytes=450, known_slow=True), variant("static")) == ["static", "dynamic"]


def test_a_variant_of_options_alone_comes_behind_its_plain_twin() -> None:
    fewer = {**static("u8s8"), "engine_options": {"onnxruntime": {"threads": 1}}}
    plain = {**static("u8s8"), "engine_options": {}}
    found = order(
        variant("a-one-thread", recipe=fewer), variant("plain", recipe=plain), variant("s8s8", recipe=static("s8s8"))
    )
    assert found == ["plain", "s8s8", "a-one-thread"]


def test_conversions_of_other_precisions_are_other_ideas() -> None:
    made = {name: {"passes": [{"converted": {"precision": name}}]} for name in ("int8", "fp16")}
    found = order(
        variant("int8-a", recipe=made["int8"]),
        variant("int8-b", recipe=made["int8"]),
        variant("fp16", recipe=made["fp16"], sqnr_db=10.0),
    )
    assert found == ["int8-a", "fp16", "int8-b"]


def test_equal_variants_have_a_fixed_order_and_nothing_is_lost() -> None:
    assert order(variant("b", engine="x"), variant("a", engine="y")) == ["a", "b"]
    assert rank_variants([], 0.025) == {}
