"""Routing judged on a small sample of recorded answers, and what the command says of bad files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from omni_grpc.cli.app import app
from omni_grpc.evaluation.baselines import METHODS
from omni_grpc.evaluation.data import DataError, PoolData, read_pool, read_rows
from omni_grpc.evaluation.held_out import Trainer, crossed
from omni_grpc.evaluation.measuring import OMNI, judge
from omni_grpc.evaluation.reading import read_library
from omni_grpc.evaluation.recipe import Recipe
from omni_grpc.evaluation.routellm import recovered
from omni_grpc.evaluation.statistics import area, cost_at, hull, interval
from omni_grpc.evaluation.wider import read_wider
from omni_grpc.routing.learned import shared_encoder
from omni_grpc.routing.learned.encoder import DIMENSIONS

SAMPLE = Path(__file__).parent / "sample"
FILE = SAMPLE / "pool_A_sample.jsonl"


def sample() -> PoolData:
    return read_pool(SAMPLE, "A", ["sample"])


def command(*words: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(
        app, ["bench", "routing", *map(str, words)], env={"COLUMNS": "200"}, catch_exceptions=False
    )
    assert result.exit_code == code, result.output
    return result


def test_the_shipped_router_saves_on_prompts_that_it_was_not_trained_on() -> None:
    result = command("--data", SAMPLE, "--predict", FILE)
    decided = [json.loads(line) for line in result.stdout.splitlines()]
    rows = read_rows(FILE)
    data = sample()
    assert [one["id"] for one in decided] == [row.id for row in rows]
    chosen = [data.meta.models.index(one["model"]) for one in decided]
    places = np.arange(len(rows))
    saved = 1 - data.cost_usd[places, chosen].sum() / data.cost_usd[:, 0].sum()
    lost = data.quality[:, 0].mean() - data.quality[places, chosen].mean()
    assert saved >= 0.3, saved
    assert lost <= 0.03, lost
    for one in decided:
        assert one["considered"][0]["model"] == one["model"]
        assert {other["model"] for other in one["considered"]} == set(data.meta.models)


def test_decisions_rest_on_the_prompt_alone(tmp_path: Path) -> None:
    rows = FILE.read_text("utf-8").splitlines()[:20]
    bare = tmp_path / "pool_A_bare.jsonl"
    bare.write_text(
        "".join(json.dumps({k: json.loads(r)[k] for k in ("id", "prompt")}) + "\n" for r in rows)
    )
    whole = tmp_path / "pool_A_whole.jsonl"
    whole.write_text("\n".join(rows))
    said = [command("--data", SAMPLE, "--predict", file).stdout for file in (bare, whole)]
    assert said[0] == said[1]


def test_everything_is_measured_beside_every_baseline() -> None:
    whole = sample()
    kept = (whole.sources != "mmlu_pro") | (np.arange(len(whole.rows)) % 8 == 0)
    data = whole.take(kept)
    library = read_library([data], shared_encoder(), lambda _: None)
    recipe = Recipe(regions=2, landmarks=8, habits=0)
    found = judge(data, ("sample",), library, Trainer(recipe), lambda _: None)
    lines = {line.name: line for line in found.lines}
    others = {f"{name} {rule}" for name in ("kNN-60", "k-means-60", "linear") for rule in ("NI0",)}
    assert others | {"always premium", "always cheapest", "oracle", "omni NI0"} <= set(lines)
    assert {f"single {model}" for model in data.meta.models} <= set(lines)
    assert lines["always premium"].saved == lines["always premium"].difference == 0
    assert lines["oracle"].difference >= max(line.difference for line in found.lines)
    assert {one.source for one in found.left_out} == {"crux", "gsm", "math_l5", "mmlu_pro"}
    assert found.hull_aiq <= found.gaps[OMNI].aiq <= found.oracle_aiq
    msgspec.json.encode(found)


def test_each_variant_of_training_changes_what_is_predicted(tmp_path: Path) -> None:
    whole = sample()
    data = whole.take(np.arange(len(whole.rows)) % 3 == 0)
    library = read_library([data], shared_encoder(), lambda _: None)
    seen, folds, asked = library.seen, library.folds, library.folds == 0
    write_other_data(tmp_path, data.rows[0].prompt)
    vectors = seen.plain.whole
    wider = read_wider(tmp_path, shared_encoder(), vectors, lambda _: None)
    assert wider is not None
    assert len(wider.grades) == 40  # all but the one that is measured
    recipe = Recipe(regions=2, landmarks=8, habits=0)
    change = msgspec.structs.replace
    trainers = {
        "plain": Trainer(recipe),
        "calibrated": Trainer(change(recipe, calibrated=True)),
        "blended": Trainer(recipe, blended=(METHODS["linear"],)),
        "landmarks": Trainer(change(recipe, wider_landmarks=True), wider=wider),
        "freed": Trainer(change(recipe, freed=0.9), wider=wider),
    }
    found = {name: one.predict(data, seen, folds, asked) for name, one in trainers.items()}
    plain = found.pop("plain")
    for name, parts in found.items():
        for mine, theirs in zip(parts, plain, strict=True):
            assert mine.quality.shape == theirs.quality.shape
            assert not np.allclose(mine.quality, theirs.quality), name
    linear = crossed(METHODS["linear"], data, seen, folds, asked)
    for mine, ours, theirs in zip(found["blended"], plain, linear, strict=True):
        assert np.allclose(mine.quality, (ours.quality + theirs.quality) / 2)
    known = data.take(~asked).quality
    truth = known[:, 1:] - known[:, :1]
    differences = found["calibrated"][0].quality[:, 1:] - found["calibrated"][0].quality[:, :1]
    assert np.allclose(differences.mean(axis=0), truth.mean(axis=0))


def test_wider_data_are_read_where_both_lie(tmp_path: Path) -> None:
    nothing = np.zeros((1, DIMENSIONS), dtype=np.float32)
    assert read_wider(tmp_path, shared_encoder(), nothing, lambda _: None) is None
    write_other_data(tmp_path, "what is measured")
    (tmp_path / "llmrouter_ulab" / "dcrouter_train.json").write_text("[{}]")
    with pytest.raises(DataError, match=r"dcrouter_train\.json cannot be used"):
        read_wider(tmp_path, shared_encoder(), nothing, lambda _: None)


def write_other_data(folder: Path, measured: str) -> None:
    """Twenty questions of each of the two data sets, and one that is measured."""
    (folder / "llmrouter_ulab").mkdir()
    (folder / "routellm" / "mmlu").mkdir(parents=True)
    questions = [
        {"question": f"How many legs have {number} {animal}?", "scores": {"m": number % 2, "n": 1}}
        for number, animal in enumerate(ANIMALS * 4)
    ] + [{"question": measured, "scores": {"m": 1.0}}]
    (folder / "llmrouter_ulab" / "dcrouter_train.json").write_text(json.dumps(questions))
    lines = [
        f"Which river flows through town {number} of {country}?,{number % 2 == 0},True"
        for number, country in enumerate(COUNTRIES * 4)
    ]
    (folder / "routellm" / "mmlu" / "a.csv").write_text("\n".join(["prompt,w,s", *lines]))


def test_statistics() -> None:
    assert hull([(0.0, 0.0), (1.0, 0.2), (2.0, 1.0), (3.0, 0.9)]) == [(0.0, 0.0), (2.0, 1.0)]
    assert area([(0.0, 0.0), (2.0, 1.0)], 0.0, 2.0) == pytest.approx(0.5)
    assert cost_at([(0.0, 0.0), (2.0, 1.0)], 0.5) == pytest.approx(1.0)
    assert cost_at([(0.0, 0.0), (2.0, 1.0)], 1.5) is None
    low, high = interval(np.array([0.0, 1.0] * 200))
    assert low < 0.5 < high
    weak_and_strong = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    assert recovered(np.array([0.0, 1.0, 0.0, 1.0]), weak_and_strong)[0] == pytest.approx(0.75)


ANIMALS = ("spiders", "dogs", "hens", "beetles", "crabs")
COUNTRIES = ("Peru", "Spain", "Chad", "Laos", "Egypt")


def first_line(change: Callable[[dict[str, object]], None]) -> bytes:
    row = json.loads(FILE.read_bytes().split(b"\n", 1)[0])
    change(row)
    return json.dumps(row).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no rows"),
        (FILE.read_bytes()[:1_500], "line"),
        (b'id,prompt\n1,"hello"\n', "line 1"),
        (b'{"id": "1", "question": "hello"}\n', "prompt"),
        (b'{"id": "1", "prompt": "\xff"}\n', "line 1"),
        (first_line(lambda row: row.update(quality={"gpt-9": 1})), "gpt-9"),
        (b'{"id": "1", "prompt": "a"}\n{"id": "1", "prompt": "b"}', "line 2"),
    ],
)
def test_a_file_that_cannot_be_decided_on_is_told_with_its_fault(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "pool_A_bad.jsonl"
    path.write_bytes(content)
    result = command("--data", SAMPLE, "--predict", path, code=1)
    assert result.stdout == ""
    assert path.name in result.stderr
    assert said in result.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row["quality"].pop("gpt-4o"), "no quality for gpt-4o"),
        (lambda row: row["cost_usd"].update({"gpt-4o": -1}), "negative"),
        (lambda row: row["quality"].update({"gpt-4o": 7}), "within 0 and 1"),
    ],
)
def test_outcomes_that_cannot_be_are_refused(
    tmp_path: Path, change: Callable[[dict[str, object]], None], said: str
) -> None:
    shutil.copy(SAMPLE / "pool_A_meta.json", tmp_path)
    (tmp_path / "pool_A_dev.jsonl").write_bytes(first_line(change))
    with pytest.raises(DataError, match=said):
        read_pool(tmp_path, "A", ["dev"])


def test_a_folder_that_cannot_be_judged_is_told(tmp_path: Path) -> None:
    assert "is no folder" in command("--data", tmp_path / "not-there", code=1).stderr
    assert "holds no pool" in command("--data", tmp_path, code=1).stderr
    shutil.copy(SAMPLE / "pool_A_meta.json", tmp_path)
    assert "no prompts of pool A" in command("--data", tmp_path, code=1).stderr
    (tmp_path / "pool_A_dev.jsonl").write_bytes(first_line(lambda _: None))
    assert "fewer than" in command("--data", tmp_path, code=1).stderr
    (tmp_path / "pool_A_meta.json").write_text("{")
    assert "pool_A_meta.json" in command("--data", tmp_path, code=1).stderr
