"""What is refused in a YAML file, and how the refusal reads."""

from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from controller.config import yaml_file
from controller.config.section import Section
from controller.config.yaml_file import load_yaml, parse_yaml
from controller.errors import ConfigurationError


class Limit(Section):
    largest_ratio: float = 0.5
    unit: str = "ms"


class Document(Section):
    name: str
    limits: dict[str, Limit] = Field(default_factory=dict)
    steps: tuple[Limit, ...] = ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nmae: x\n", "f.yaml:1: nmae: unknown field; did you mean 'name'?"),
        ("name: x\nzzz: 1\n", "f.yaml:2: zzz: unknown field; known are limits, name, steps"),
        ("limits: {}\n", "f.yaml:1: name: is missing; add it"),
        ("name: x\nname: y\n", "f.yaml:2: name: stands twice (first on line 1); keep one"),
        ("name: 1\n", "f.yaml:1: name: should be text, is 1; put it in quotes"),
        (
            "name: x\nlimits:\n  a:\n    largest_ratoi: 1\n",
            "f.yaml:4: limits.a.largest_ratoi: unknown field; did you mean 'largest_ratio'?",
        ),
        ("name: x\nsteps:\n  - {unit: s}\n  - {largest_ratio: many}\n", "f.yaml:4: steps[1].largest_ratio: "),
        (
            "name: x\nsteps: [{largest_ratio: .inf}]\n",
            "f.yaml:2: steps[0].largest_ratio: input should be a finite number",
        ),
        ("name: [x\n", "f.yaml:2: column 1: not valid YAML"),
        ("a: 1\n\tb: 2\n", "f.yaml:2: "),
        ("name: !!python/object:os.system x\n", "not valid YAML: could not determine a constructor"),
        ("--- {name: a}\n--- {name: b}\n", "not valid YAML: but found another document"),
        ("name: 2026-13-45\n", "f.yaml:1: '2026-13-45' cannot be read"),
        ("{a: 1}: x\n", "f.yaml:1: a key must be a plain word"),
        ("", "f.yaml:1: the file is empty; it needs limits, name, steps"),
        ("- 1\n", "f.yaml:1: document: "),
    ],
)
def test_a_fault_names_file_line_field_and_remedy(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_yaml(text, Document, "f.yaml")
    assert said in str(caught.value)
    assert caught.value.exit_code == 3


def test_every_fault_is_shown_up_to_ten() -> None:
    text = "name: x\n" + "".join(f"wrong{number}: 1\n" for number in range(13))
    with pytest.raises(ConfigurationError) as caught:
        parse_yaml(text, Document, "f.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert lines[0].startswith("f.yaml:2:")
    assert lines[-1] == "and 3 more faults"


def test_aliases_work_but_cannot_blow_up() -> None:
    read = parse_yaml("name: x\nlimits: {a: &a {unit: s}, b: *a}\n", Document, "f.yaml")
    assert read.limits["b"].unit == "s"
    bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    for level in range(1, 9):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    with pytest.raises(ConfigurationError, match="more than 100000 values"):
        parse_yaml(bomb, Document, "f.yaml")


def test_depth_is_bounded() -> None:
    with pytest.raises(ConfigurationError, match="50 levels"):
        parse_yaml("name: " + "[" * 60 + "]" * 60, Document, "f.yaml")


def test_a_file_is_read_whole_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: ä\n", encoding="utf-8-sig")
    assert load_yaml(path, Document).name == "ä"
    path.write_bytes(b"name: x\n# \xff\n")
    with pytest.raises(ConfigurationError, match=r"a\.yaml:2: not UTF-8"):
        load_yaml(path, Document)
    monkeypatch.setattr(yaml_file, "LARGEST_FILE_BYTES", 5)
    with pytest.raises(ConfigurationError, match="larger than 5 bytes"):
        load_yaml(path, Document)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load_yaml(tmp_path / "none.yaml", Document)


def test_a_plain_pydantic_model_can_be_read_too() -> None:
    class Plain(BaseModel):
        a: int | None = None

    assert parse_yaml("a: 3\nother: 1\n", Plain, "f.yaml").a == 3
