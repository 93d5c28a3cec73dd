"""Assignment to arms: sticky, even, the same in another process, independent of the others."""

import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

from omni_grpc.routing.experiment import CONTROL, Arm, Experiment

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def experiment(*shares: int, name: str = "x", salt: str = "") -> Experiment:
    arms = tuple(Arm(name=f"arm{n}", share_ppm=share) for n, share in enumerate(shares))
    return Experiment(name=name, arms=arms, salt=salt)


def arm(of: Experiment, unit: str) -> str:
    found = of.arm_of(unit)
    return CONTROL if found is None else found.name


def test_units_are_spread_by_the_shares_and_the_rest_is_control() -> None:
    seen = Counter(arm(experiment(100_000, 300_000), f"user-{n}") for n in range(20_000))
    assert abs(seen["arm0"] - 2_000) < 4 * 42
    assert abs(seen["arm1"] - 6_000) < 4 * 65
    assert seen[CONTROL] == 20_000 - seen["arm0"] - seen["arm1"]


def test_shares_of_all_leave_no_control_and_none_leaves_nothing_else() -> None:
    full = experiment(500_000, 500_000)
    assert {arm(full, f"{n}") for n in range(500)} == {"arm0", "arm1"}
    assert full.control == "arm0"
    assert full.arm_names == ("arm0", "arm1")
    part = experiment(1)
    assert part.control == CONTROL
    assert part.arm_names == (CONTROL, "arm0")


def test_another_process_gives_every_unit_the_same_arm() -> None:
    script = (
        "from omni_grpc.routing.experiment import Arm, Experiment\n"
        "e = Experiment(name='x', arms=(Arm(name='a', share_ppm=400000),))\n"
        "print(''.join('ac'[e.arm_of(f'unit-{n}') is None] for n in range(200)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.strip()
    here = experiment(400_000)
    assert told == "".join("ac"[here.arm_of(f"unit-{n}") is None] for n in range(200))


def test_experiments_do_not_correlate_unless_they_share_a_salt() -> None:
    units = [f"user-{n}" for n in range(10_000)]
    one, other = experiment(500_000, name="one"), experiment(500_000, name="other")
    both = sum(arm(one, unit) == arm(other, unit) == "arm0" for unit in units)
    assert abs(both - 2_500) < 4 * 44
    first = experiment(500_000, name="one", salt="s")
    second = experiment(500_000, name="other", salt="s")
    assert all(arm(first, unit) == arm(second, unit) for unit in units)


def test_a_larger_share_of_the_last_arm_keeps_those_who_were_in_it() -> None:
    small, large = experiment(10_000), experiment(200_000)
    for n in range(5_000):
        assert arm(small, f"{n}") != "arm0" or arm(large, f"{n}") == "arm0"


def test_it_runs_from_its_start_until_its_end() -> None:
    always = Experiment(name="x", arms=())
    assert always.runs(NOW)
    timed = Experiment(name="x", arms=(), start_time=NOW, end_time=NOW + timedelta(hours=1))
    assert timed.runs(NOW)
    assert not timed.runs(NOW - timedelta(seconds=1))
    assert not timed.runs(NOW + timedelta(hours=1))
