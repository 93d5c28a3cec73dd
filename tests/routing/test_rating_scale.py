"""Ratings and recorded answers, brought on one scale."""

import math

import numpy as np
import pytest

from omni_grpc.catalog.rating_facts import RATING_FACTS
from omni_grpc.routing.learned import shared_quality
from omni_grpc.routing.learned.quality import SAME_MODELS
from omni_grpc.routing.learned.ratings import RATING_OFFSET, log_odds, odds_of_rating


def test_the_offset_is_what_lies_between_grades_and_ratings_of_the_same_models() -> None:
    quality, facts = shared_quality(), dict(RATING_FACTS)
    apart = []
    for model in SAME_MODELS.keys() & facts.keys():
        head, overall = quality.head(model), facts[model][0]
        assert head is not None
        if overall is not None:
            pool, column = head
            apart.append(log_odds(float(pool.mean_quality[column])) - log_odds(overall / 100))
    assert len(apart) > 8
    assert np.mean(apart) == pytest.approx(RATING_OFFSET, abs=0.15)
    assert np.std(apart) < 0.5


def test_the_better_rated_is_predicted_to_do_better_and_everything_less_where_it_is_harder() -> (
    None
):
    scale = shared_quality().scale
    odds = np.array([odds_of_rating(share) for share in (0.3, 0.6, 0.8)])
    easy, doubt = scale.predict(odds, -1.0, 0.2)
    hard, _ = scale.predict(odds, 2.0, 0.9)
    assert list(easy) == sorted(easy)
    assert (hard < easy).all()
    assert (doubt <= scale.unlike_doubt).all()
    assert math.isclose(scale.predict(odds, None, 0.5)[0][0], 1 / (1 + math.exp(-odds[0])))
