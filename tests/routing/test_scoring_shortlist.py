"""The shortlist is the head of the whole ranking, and the cheapest of what it leaves."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.routing.scoring import Parts, ranking, shortlist

COUNT = 4

offers = st.lists(
    st.tuples(st.integers(-3, 3), st.booleans(), st.integers(1, 4)), min_size=1, max_size=12
)


def parts_of(made: list[tuple[int, bool, int]]) -> Parts:
    total = np.array([score / 4 for score, _, _ in made])
    nothing = np.zeros(len(made))
    return Parts(nothing, nothing, nothing, total, total, np.array([poor for _, poor, _ in made]))


@given(offers, st.integers(0, 11) | st.none())
def test_a_shortlist_has_what_sorting_everything_puts_first(
    made: list[tuple[int, bool, int]], premium: int | None
) -> None:
    escalate_to = None if premium is None else premium % len(made)
    costs = np.array([float(cost) for _, _, cost in made])

    def key(place: int) -> tuple[bool, bool, int, int]:
        score, poor, cost = made[place]
        return place != escalate_to, poor, -score, cost

    found = shortlist(parts_of(made), costs, COUNT, escalate_to=escalate_to)
    everything = sorted(range(len(made)), key=key)
    assert [key(place) for place in found[:COUNT]] == [key(place) for place in everything[:COUNT]]
    assert len(set(found)) == len(found) == min(len(made), COUNT + 1)
    rest = set(range(len(made))) - set(found[:COUNT])
    if rest:
        least = min((made[place][2], made[place][1], -made[place][0]) for place in rest)
        assert (made[found[-1]][2], made[found[-1]][1], -made[found[-1]][0]) == least


@given(offers)
def test_what_is_shown_whole_starts_with_the_scores_of_the_shortlist(
    made: list[tuple[int, bool, int]],
) -> None:
    parts = parts_of(made)
    costs = np.array([float(cost) for _, _, cost in made])
    whole, short = ranking(parts)[:COUNT], shortlist(parts, costs, COUNT)[:COUNT]
    assert parts.total[whole].tolist() == parts.total[short].tolist()
    assert parts.too_poor[whole].tolist() == parts.too_poor[short].tolist()
