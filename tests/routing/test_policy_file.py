"""The operator's file: what it says, and every fault of it with its line."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from omni_grpc.core.task import Complexity, Task
from omni_grpc.routing import PolicyFileError, parse_policies
from omni_grpc.routing.policy import (
    Cost,
    Deterministic,
    Hybrid,
    Performance,
    Prefer,
    Region,
    Score,
    Weighted,
    WeightedModel,
)
from omni_grpc.routing.policy_file import FILE_BYTES_MAX, read_policy_file

WHOLE = """
policies:
  - name: coding
    scope: orgs/acme
    order: -5
    description: Cheap, but not for hard code.
    when:
      tasks: [coding, agent_step]
      complexities: [simple, medium]
      models: [omni/auto, "*"]
      tags: {team: search}
    rule: {kind: cost, min_quality: 0.7}
    limits:
      allow_models: [gpt-4o]
      deny_models: [openai/gpt-4]
      allow_providers: [openai]
      deny_providers: [azure]
      max_cost_nanousd: 50000000
    fallbacks: [openai/gpt-4o]
  - {name: chain, active: false, rule: {kind: deterministic, models: [a/b, house]}}
  - name: split
    rule:
      kind: weighted
      sticky: true
      models:
        - {model: a/b, weight: 70}
        - {model: c, weight: 30}
  - {name: fast, rule: {kind: performance, prefer: speed}}
  - {name: mix, rule: {kind: hybrid, cost: 0.5, quality: 2}}
  - {name: eu, rule: {kind: region, regions: [eu], policy: chain}}
  - {name: no-azure, rule: {kind: score}, limits: {deny_providers: [azure]}}
experiments:
  - name: newer
    arms:
      - {name: b, share_ppm: 100000, policy: chain}
      - {name: c, share_ppm: 100000, models: [a/b]}
    start_time: 2030-01-01T00:00:00Z
    end_time: "2030-02-01T00:00:00+01:00"
    salt: s
"""


def faults(text: str | bytes) -> list[str]:
    raw = text.encode() if isinstance(text, str) else text
    with pytest.raises(PolicyFileError) as caught:
        parse_policies(raw, "f.yaml")
    assert all(fault.startswith("f.yaml: ") for fault in caught.value.faults)
    return [fault.removeprefix("f.yaml: ") for fault in caught.value.faults]


def policy(rest: str) -> str:
    return f"policies:\n  - name: p\n    {rest}\n"


def test_every_kind_of_rule_can_be_written() -> None:
    content = parse_policies(WHOLE.encode(), "f.yaml")
    coding, *others = content.policies
    assert coding.full_name == "orgs/acme/routingPolicies/coding"
    assert coding.when.tasks == {Task.CODING, Task.AGENT_STEP}
    assert coding.when.complexities == {Complexity.SIMPLE, Complexity.MEDIUM}
    assert coding.limits.max_cost_nanousd == 50_000_000
    assert [one.rule for one in content.policies] == [
        Cost(min_quality=0.7),
        Deterministic(models=("a/b", "house")),
        Weighted(models=(WeightedModel("a/b", 70), WeightedModel("c", 30)), sticky=True),
        Performance(prefer=Prefer.SPEED),
        Hybrid(cost=0.5, quality=2.0),
        Region(regions=("eu",), policy="chain"),
        Score(),
    ]
    assert not others[0].active
    (experiment,) = content.experiments
    assert experiment.start_time == datetime(2030, 1, 1, tzinfo=UTC)
    assert experiment.end_time == datetime(2030, 1, 31, 23, tzinfo=UTC)
    assert [arm.share_ppm for arm in experiment.arms] == [100_000, 100_000]


@pytest.mark.parametrize("empty", ["", "# nothing\n", "{}", "policies: []\nexperiments:\n"])
def test_an_empty_file_says_nothing(empty: str) -> None:
    content = parse_policies(empty.encode(), "f.yaml")
    assert (content.policies, content.experiments) == ((), ())


def test_all_faults_are_told_at_once_with_their_lines() -> None:
    told = faults(
        """
policies:
  - name: Bad Name
    rule: {kind: deterministic, models: []}
    colour: red
  - name: w
    rule:
      kind: weighted
      models:
        - {model: a, weight: -1}
        - {model: b, weight: 1.5}
  - name: z
    when: {tasks: [cooking], model: [x]}
    rule: {kind: magic}
experiments:
  - name: e
    arms: [{name: a, share_ppm: 700000}, {name: b, share_ppm: 600000}]
"""
    )
    assert told == [
        (
            "line 5: policies[0].colour: there is no such field; there are name, rule, scope, "
            "order, active, when, limits, fallbacks, description"
        ),
        "line 11: policies[1].rule.models[1].weight: must be `int`, got `float`",
        (
            "line 14: policies[2].rule.kind: there is no kind 'magic': one of score, "
            "deterministic, weighted, cost, performance, hybrid, region"
        ),
        "line 13: policies[2].when.model: there is no such field; did you mean 'models'?",
        (
            "line 13: policies[2].when.tasks[0]: there is no task 'cooking': one of chat, coding, "
            "reasoning, summarization, translation, image, agent_step"
        ),
        "line 17: experiments[0].arms: the shares sum to 130 %, above 100 % (1,000,000 ppm)",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (policy("rule: {kind: deterministic, models: []}"), "names no model"),
        (policy("rule: {kind: deterministic, models: ['a b']}"), "no name of a model"),
        (policy("rule: {kind: deterministic, models: ['a/']}"), "no name of a model"),
        (policy("rule: {kind: deterministic, models: ['']}"), "no name of a model"),
        (policy("rule: {kind: deterministic, models: [omni/auto]}"), "leaves the choice"),
        (policy("rule: {kind: deterministic, models: [a, a]}"), "names something twice"),
        (policy(f"rule: {{kind: deterministic, models: {list('abcdefg') * 10}}}"), "at most 64"),
        (policy("rule: {kind: weighted, models: [{model: a, weight: 0}]}"), "sum to zero"),
        (policy("rule: {kind: weighted, models: [{model: a, weight: -3}]}"), "is -3; must be"),
        (policy("rule: {kind: weighted, models: [{model: a}]}"), "weight: is missing"),
        (policy("rule: {kind: hybrid, cost: 0}"), "sum to zero"),
        (policy("rule: {kind: hybrid, cost: -1, quality: 2}"), "is -1.0; must be"),
        (policy("rule: {kind: hybrid, cost: .nan}"), "is nan; must be"),
        (policy("rule: {kind: hybrid, cost: .inf}"), "is inf; must be"),
        (policy("rule: {kind: cost, min_quality: 70}"), "between 0 and 1"),
        (policy("rule: {kind: cost, min_quality: .nan}"), "between 0 and 1"),
        (policy("rule: {kind: cost}"), "min_quality: is missing"),
        (policy("rule: {kind: region, regions: []}"), "names no region"),
        (policy("rule: {kind: region, regions: [EU]}"), "no name of a region"),
        (policy("rule: {kind: region, regions: [eu], policy: gone}"), "which is not there"),
        (policy("rule: {kind: region, regions: [eu], policy: p}"), "in a loop"),
        (policy("rule: cost"), "must be a mapping with `kind`"),
        (policy("{}"), "expected"),
        (policy("order: 1"), "rule: is missing"),
        (policy("rule: {kind: score}\n    scope: acme"), "must be global, orgs/{org}"),
        (policy("rule: {kind: score}\n    order: true"), "must be `int`, got `bool`"),
        (policy("rule: {kind: score}\n    order: 9999999999"), "must be between"),
        (policy("rule: {kind: score}\n    when: {tags: {a: 1}}"), "must be `str`, got `int`"),
        (policy("rule: {kind: score}\n    limits: {max_cost_nanousd: 0}"), "must be between 1"),
        (
            policy("rule: {kind: score}\n    limits: {allow_models: [a], deny_models: [a]}"),
            "both allowed and denied",
        ),
        (policy("rule: {kind: score}\n    name: again"), "stands there twice"),
        ("policies: [{name: p, rule: {kind: score}}, {name: p, rule: {kind: score}}]", "twice"),
        ("policies: {name: p}", "must be a list"),
        ("- name: p", "must be a mapping"),
        ("rules: []", "there is no such field"),
        ("policies: [" * 3_000, "is nested too deeply"),
        ("a: &a [*a]", "nested too deeply"),
        ("a: !!python/object:os.system {}", "there is no such field"),
        ("{", "expected"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        (b"\xff\xfe\xff", "unacceptable|codec|decode|is not"),
        ("policies: [{order: " + "9" * 5_000 + "}]", "Exceeds the limit"),
        ("experiments: [{name: e, arms: []}]", "0 arms; 1 to 16"),
        (
            (
                "experiments: [{name: e, when: {models: [gpt]}, "
                "arms: [{name: a, share_ppm: 500000, models: [b]}]}]"
            ),
            "every unit needs an arm",
        ),
        (
            "experiments: [{name: e, when: {models: ['*']}, arms: [{name: a, share_ppm: 999}]}]",
            "every arm a policy or models",
        ),
        ("experiments: [{name: e, arms: [{name: control, share_ppm: 1}]}]", "'control' is the arm"),
        ("experiments: [{name: e, arms: [{name: a, share_ppm: 0}]}]", "sum to zero"),
        ("experiments: [{name: e, arms: [{name: a, share_ppm: 1, policy: p}]}]", "is not there"),
        (
            "experiments: [{name: e, arms: [{name: a, share_ppm: 1, policy: p, models: [m]}]}]",
            "give one of them",
        ),
        (
            (
                "experiments: [{name: e, start_time: 2030-01-01T00:00:00, "
                "arms: [{name: a, share_ppm: 1}]}]"
            ),
            "names no time zone",
        ),
        (
            (
                "experiments: [{name: e, start_time: 2030-01-02T00:00:00Z, "
                "end_time: 2030-01-01T00:00:00Z, arms: [{name: a, share_ppm: 1}]}]"
            ),
            "is not after start_time",
        ),
    ],
)
def test_what_cannot_be_is_refused_and_says_why(text: str | bytes, told: str) -> None:
    assert any(part in fault for fault in faults(text) for part in told.split("|")), faults(text)


def test_anchors_that_multiply_are_refused_before_they_fill_the_memory() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    assert faults(bomb) == ["has more than 100,000 values"]


def test_a_loop_of_several_is_told_whole() -> None:
    text = """
policies:
  - {name: a, rule: {kind: region, regions: [eu], policy: b}}
  - {name: b, rule: {kind: region, regions: [eu], policy: global/routingPolicies/a}}
"""
    assert any(
        "a -> global/routingPolicies/b -> global/routingPolicies/a" in f for f in faults(text)
    )


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match="No such file"):
        read_policy_file(tmp_path / "gone.yaml")
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    with pytest.raises(PolicyFileError, match="more than"):
        read_policy_file(large)


def test_hundreds_of_faults_are_told_up_to_fifty() -> None:
    text = "policies:\n" + "".join(
        f"  - {{name: P{n}, rule: {{kind: score}}}}\n" for n in range(99)
    )
    told = faults(text)
    assert len(told) == 51
    assert told[-1] == "and 49 more"
