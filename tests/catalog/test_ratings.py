import datetime as dt

import pytest
from catalog_offers import facts, offer, rates

from omni_grpc.catalog import Catalog, CatalogSnapshot, Rating, seed
from omni_grpc.catalog.benchmarks import BENCHMARKS, Score, rating_of
from omni_grpc.catalog.operator_file import parse_operator_file
from omni_grpc.catalog.rating_facts import RATING_FACTS, RATING_TASKS
from omni_grpc.catalog.ratings import ESTIMATE_MAX, ESTIMATE_MIN, stated_ratings
from omni_grpc.core.money import Price
from omni_grpc.core.task import Task
from omni_grpc.storage import Database


def rating(snapshot: CatalogSnapshot, model: str, task: Task | None = None) -> Rating:
    found = snapshot.rating(model, task)
    assert found is not None
    return found


def estimated(release: dt.date | None, usd_per_mtok: int) -> float:
    price = Price(1, rates(usd_per_mtok * 10**9, usd_per_mtok * 10**9))
    sold = offer("lab/unheard-of", release_date=release, price=price)
    found = rating(CatalogSnapshot(1, [sold]), "unheard-of")
    assert found.estimated
    assert found.source == "estimate"
    return found.value


def test_at_least_sixty_models_are_rated_overall_at_coding_and_at_reasoning():
    assert RATING_TASKS[:4] == (None, Task.CHAT, Task.CODING, Task.REASONING)
    models = [model for model, values in RATING_FACTS if None not in values[:5]]
    assert len(models) == len(set(models)) >= 60
    for _, values in RATING_FACTS:
        assert all(value is None or 1 <= value <= 99 for value in values)


def test_better_models_are_rated_better():
    names = ["gpt-3.5-turbo", "gpt-4o-mini", "gpt-4o", "gpt-4.1", "o3", "gpt-5"]
    snapshot = CatalogSnapshot(1, [offer(f"openai/{name}") for name in names])
    values = [rating(snapshot, name).value for name in names]
    assert values == sorted(values)
    found = rating(snapshot, "gpt-4o", Task.CODING)
    assert (found.task, found.estimated) == (Task.CODING, False)
    assert "LiveBench" in found.source
    assert found.date is not None


def test_a_task_that_was_not_measured_has_the_overall_rating():
    snapshot = CatalogSnapshot(1, [offer("openai/gpt-4o")])
    found = rating(snapshot, "gpt-4o", Task.TRANSLATION)
    assert found == rating(snapshot, "gpt-4o")
    assert found.task is None


@pytest.mark.parametrize(
    "name",
    ["gpt-5-2025-08-07", "GPT-5", "gpt-5@20250807", "gpt-5-latest", "gpt-5:free"],
)
def test_a_release_without_facts_has_its_model_s(name: str):
    snapshot = CatalogSnapshot(1, [offer(f"a/{name}"), offer("b/gpt-5")])
    assert rating(snapshot, name) == rating(snapshot, "gpt-5")


def test_another_model_is_not_taken_for_a_release():
    snapshot = CatalogSnapshot(1, [offer("a/gpt-5-turbo-x")])
    assert rating(snapshot, "gpt-5-turbo-x").estimated


def test_a_model_that_nobody_offers_has_no_rating():
    snapshot = CatalogSnapshot(1, [offer("openai/gpt-4o")])
    assert snapshot.rating("gpt-4") is None
    assert snapshot.rated_tasks("gpt-4") == ()


def test_estimates_rise_with_price_and_with_date_and_stay_in_their_bounds():
    old, new = dt.date(2024, 1, 1), dt.date(2026, 1, 1)
    assert estimated(old, 1) < estimated(old, 10) < estimated(new, 10)
    assert estimated(dt.date(2030, 1, 1), 1_000) == ESTIMATE_MAX
    assert estimated(dt.date(1999, 1, 1), 1) == ESTIMATE_MIN
    assert ESTIMATE_MIN <= estimated(None, 0) <= ESTIMATE_MAX


def test_one_seller_s_wrong_price_or_date_does_not_decide_an_estimate():
    usual = [
        offer(f"p{n}/m", release_date=dt.date(2025, 1, 1), price=Price(n, rates(10**9, 10**9)))
        for n in range(1, 4)
    ]
    strange = offer("q/m", release_date=dt.date(1990, 1, 1), price=Price(9, rates(1, 1)))
    alone = rating(CatalogSnapshot(1, usual), "m")
    assert rating(CatalogSnapshot(1, [*usual, strange]), "m") == alone


def test_scores_of_sources_lie_over_the_package_s_facts():
    day = dt.date(2026, 5, 1)
    scores = [
        Score(model="gpt-4o", benchmark="mmlu_pro", score=84, source="ours", date=day),
        Score(model="gpt-4o", benchmark="gpqa_diamond", score=92, source="ours"),
        Score(model="gpt-4o", benchmark="aime_2025", score=95, source="ours"),
        Score(model="gpt-4o", benchmark="never-heard-of", score=1, source="ours"),
    ]
    snapshot = CatalogSnapshot(1, [offer("openai/gpt-4o")], (), stated_ratings({}, scores))
    overall = rating(snapshot, "gpt-4o")
    assert (overall.value, overall.source, overall.date) == (50, "mmlu_pro (ours)", day)
    reasoning = rating(snapshot, "gpt-4o", Task.REASONING)
    assert reasoning.value == 75
    assert reasoning.source == "aime_2025 (ours), gpqa_diamond (ours)"
    assert "LiveBench" in rating(snapshot, "gpt-4o", Task.CODING).source


def test_a_model_known_at_single_tasks_only_has_their_mean_overall():
    scores = [Score(model="m", benchmark="livebench_coding", score=40, source="ours")]
    snapshot = CatalogSnapshot(1, [offer("lab/m")], (), stated_ratings({}, scores))
    found = rating(snapshot, "m")
    assert (found.value, found.estimated) == (40, True)
    assert [one.task for one in snapshot.rated_tasks("m")] == [None, Task.CODING]


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_a_higher_score_is_never_a_lower_rating(name: str):
    lowest, highest = BENCHMARKS[name].anchors[0][0], BENCHMARKS[name].anchors[-1][0]
    steps = [lowest - 1 + n * (highest - lowest + 2) / 50 for n in range(51)]
    found = [rating_of(name, step) for step in steps]
    assert found == sorted(found)
    assert 0 <= found[0] < found[-1] <= 100


async def test_the_operator_s_word_on_a_rating_wins_and_scores_are_read(database: Database):
    await seed(database, [facts("openai/gpt-4o"), facts("azure/gpt-4o"), facts("lab/other")])
    catalog = Catalog(database)
    file = parse_operator_file(b"models: {openai/gpt-4o: {ratings: {overall: 77, image: 66}}}")
    await catalog.apply_file(file, actor="models.yaml")
    await database.execute(
        "INSERT INTO benchmark_score (model, benchmark, score, source) "
        "VALUES ('gpt-4o', 'mmlu_pro', 10, 'list'), ('other', 'mmlu_pro', 31, 'list')"
    )
    await catalog.load()
    snapshot = catalog.snapshot
    assert (rating(snapshot, "gpt-4o").value, rating(snapshot, "gpt-4o").source) == (
        77,
        "models.yaml",
    )
    assert rating(snapshot, "gpt-4o", Task.IMAGE).value == 66
    assert rating(snapshot, "other").value == 8


def test_every_well_known_model_of_the_packages_is_rated_by_facts(real: CatalogSnapshot):
    names = ["gpt-4o", "gpt-5", "o3", "claude-sonnet-4-5", "claude-3-haiku", "gemini-2.5-pro"]
    names += ["grok-4", "deepseek-v3.2", "llama-3.3-70b-instruct", "kimi-k2-thinking", "glm-4.6"]
    assert not [name for name in names if rating(real, name).estimated]
    assert all(real.rating(one.model) is not None for one in real.offers())
