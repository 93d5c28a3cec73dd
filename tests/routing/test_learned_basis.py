"""What is worked out once for all prompts changes nothing of what each is read as."""

import numpy as np
import pytest

from omni_grpc.routing.learned import Quality, shared_encoder, shared_quality
from omni_grpc.routing.learned.basis import FORM_CLIP, FORM_WEIGHT, NOVEL_FORM_CLIP, Numbers, Stack
from omni_grpc.routing.learned.features import Features, read_features
from omni_grpc.routing.learned.panel import Panel

PROMPTS = (
    "What is 12 * 7?",
    "Which is a mammal?\nA. a carp\nB. a whale\nC. a wasp\nD. a newt",
    "def f(x):\n    return x + 1\n\nWhy does f('1') fail?",
    "Übersetze ins Englische: Der Hund schläft.",
    "",
)


@pytest.fixture(scope="module")
def quality() -> Quality:
    return shared_quality()


@pytest.fixture(scope="module")
def prompts() -> list[Features]:
    return [read_features(prompt, shared_encoder()) for prompt in PROMPTS]


def without(vector: Numbers, directions: Numbers) -> Numbers:
    rest: Numbers = vector - directions.T @ (directions @ vector)
    return rest


def unit(vector: Numbers) -> Numbers:
    scaled: Numbers = vector / np.linalg.norm(vector)
    return scaled


def test_a_place_is_both_meanings_and_the_form_without_their_habits_along_the_axes(
    quality: Quality, prompts: list[Features]
) -> None:
    for pool in quality.pools.values():
        basis = pool.basis
        for one in prompts:
            form = without((one.form - basis.form_mean) / basis.form_deviation, basis.form_habits)
            assert basis.form(one) == pytest.approx(form, abs=1e-4)
            weighed = form.clip(-FORM_CLIP, FORM_CLIP) * FORM_WEIGHT / len(form) ** 0.5
            whole = without(one.whole - basis.whole_mean, basis.whole_habits)
            stem = without(one.stem - basis.stem_mean, basis.stem_habits)
            place = unit(basis.axes @ np.concatenate([whole, stem, weighed]))
            assert basis.place(one, basis.form(one)) == pytest.approx(place, abs=1e-5)
            near = pool.forms - form.clip(-NOVEL_FORM_CLIP, NOVEL_FORM_CLIP)
            nearest = np.linalg.norm(near, axis=1).min()
            assert pool.form_distances(basis.form(one)) == pytest.approx(nearest, abs=1e-2)


def test_one_prompt_is_read_as_it_is_among_many(quality: Quality, prompts: list[Features]) -> None:
    for pool in quality.pools.values():
        many = pool.read(Stack.of(prompts))
        for row, one in enumerate(prompts):
            alone = pool.read(one)
            assert alone.coordinates == pytest.approx(many.coordinates[row], abs=1e-5)
            assert bool(alone.unlike) is bool(many.unlike[row])
            assert float(alone.caution) == pytest.approx(float(many.caution[row]), abs=1e-6)
            tokens = pool.output_tokens(many.coordinates)[row]
            assert pool.output_tokens(alone.coordinates) == pytest.approx(tokens, rel=1e-4)


def test_all_pools_together_say_of_a_prompt_what_each_says_of_many(
    quality: Quality, prompts: list[Features]
) -> None:
    pools = [*quality.pools.values()]
    panel = Panel(pools)
    many = [pool.read(Stack.of(prompts)) for pool in pools]
    chances = [pool.qualities(one.coordinates) for pool, one in zip(pools, many, strict=True)]
    tokens = [pool.output_tokens(one.coordinates) for pool, one in zip(pools, many, strict=True)]
    for row, prompt in enumerate(prompts):
        said = panel.opinion(prompt)
        assert said.chances == pytest.approx(
            np.concatenate([one[row] for one in chances]), abs=1e-5
        )
        assert said.tokens == pytest.approx(np.concatenate([one[row] for one in tokens]), rel=1e-4)
        assert said.unlike == [bool(one.unlike[row]) for one in many]
        assert said.caution == pytest.approx([float(one.caution[row]) for one in many], abs=1e-6)
