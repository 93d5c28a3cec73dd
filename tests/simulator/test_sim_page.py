"""The page for users names everything that there is."""

from pathlib import Path

import msgspec
import pytest

from omni_grpc.simulator import SIMULATED_MODELS, SimulatedModel
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.log import CallRecord

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()


@pytest.mark.parametrize("model", SIMULATED_MODELS, ids=lambda model: model.id)
def test_every_model_has_its_row(model: SimulatedModel) -> None:
    row = f"| `sim/{model.id}` | {model.description} |"
    assert row in PAGE
    assert f"`{model.behaviour}`" in PAGE or not model.behaviour


def test_every_key_and_every_field_is_explained() -> None:
    keys = {field.name for field in msgspec.structs.fields(Behaviour)}
    assert {key for key in keys if f"`{key}`" not in PAGE} == set()
    fields = {field.name for field in msgspec.structs.fields(CallRecord)}
    assert {name for name in fields if f'"{name}":' not in PAGE} == set()
