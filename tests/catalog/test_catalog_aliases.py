import pytest

from omni_grpc.catalog import Alias
from omni_grpc.catalog.aliases import check_alias
from omni_grpc.core.errors import FieldInvalid


def check(name: str, targets: list[str], others: dict[str, tuple[str, ...]]) -> None:
    held = [Alias(name=key, targets=value) for key, value in others.items()]
    check_alias(Alias(name=name, targets=tuple(targets)), held)


OTHERS = {"a": ("b", "gpt-4o"), "b": ("c",), "c": ("gpt-4o",)}


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("new", ["a"]),
        ("new", ["gpt-4o"]),
        ("gpt-4o", ["azure/gpt-4o"]),
        ("c", ["x", "y"]),
        ("two words", ["x"]),
        ("n" * 256, ["x"]),
    ],
)
def test_a_sound_alias_is_taken(name: str, targets: list[str]):
    check(name, targets, {key: value for key, value in OTHERS.items() if key != name})


@pytest.mark.parametrize(
    ("name", "targets", "chain"),
    [
        ("new", ["new"], "new → new"),
        ("new", ["x", "new"], "new → new"),
        ("c", ["a"], "c → a → b → c"),
        ("c", ["x", "b"], "c → b → c"),
        ("gpt-4o", ["a"], "gpt-4o → a → gpt-4o"),
    ],
)
def test_an_alias_that_would_mean_itself_is_refused_with_the_loop(
    name: str, targets: list[str], chain: str
):
    with pytest.raises(FieldInvalid, match=chain) as caught:
        check(name, targets, {key: value for key, value in OTHERS.items() if key != name})
    assert caught.value.field == "targets"


@pytest.mark.parametrize("name", ["", " a", "a ", "a\0", "a\n", "omni/auto", "omni/x", "n" * 257])
def test_a_name_that_cannot_be_is_refused(name: str):
    with pytest.raises(FieldInvalid) as caught:
        check(name, ["x"], {})
    assert caught.value.field == "name"


@pytest.mark.parametrize("targets", [[], ["x", "x"], [str(n) for n in range(17)]])
def test_targets_are_between_one_and_sixteen_and_different(targets: list[str]):
    with pytest.raises(FieldInvalid) as caught:
        check("new", targets, {})
    assert caught.value.field == "targets"
