"""Policies and experiments out of an operator's YAML file: all of it is right, or none counts.

    policies:
      - name: cheap-coding
        when: {tasks: [coding]}
        rule: {kind: cost, min_quality: 0.7}
    experiments: []

Every fault is told with its line and its path. The file speaks for itself alone: it refers to
nothing that only the database has, so that it is right or wrong wherever it is read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import yaml

from omni_grpc.routing.experiment import Experiment
from omni_grpc.routing.policy_checks import check_experiment, check_policy
from omni_grpc.routing.policy_model import Policy
from omni_grpc.routing.policy_reading import FAULTS_TOLD_MAX, Fault, read
from omni_grpc.routing.policy_set import PolicySet

FILE_BYTES_MAX: Final = 1024 * 1024
"""A thousand policies fit; a file of another kind is refused before it fills the memory."""

NODE_COUNT_MAX: Final = 100_000
"""Values in the file, each anchor's counted wherever it is used."""

RULE_COUNT_MAX: Final = 1_000
"""Policies, and experiments, of one file or one database: all are held in memory."""

_Item = TypeVar("_Item", Policy, Experiment)


class FileContent(msgspec.Struct, frozen=True):
    """What a file says."""

    policies: tuple[Policy, ...] = ()
    experiments: tuple[Experiment, ...] = ()

    @property
    def items(self) -> tuple[Policy | Experiment, ...]:
        """Both."""
        both: list[Policy | Experiment] = [*self.policies, *self.experiments]
        return tuple(both)


class PolicyFileError(ValueError):
    """A file of policies cannot be used; `faults` has everything that is wrong, with its line."""

    def __init__(self, path: str, faults: Sequence[str]) -> None:
        self.faults = [f"{path}: {fault}" for fault in faults[:FAULTS_TOLD_MAX]]
        if len(faults) > FAULTS_TOLD_MAX:
            self.faults.append(f"{path}: and {len(faults) - FAULTS_TOLD_MAX} more")
        super().__init__("\n".join(self.faults))


def read_policy_file(path: Path) -> FileContent:
    """What a file says.

    Raises:
        PolicyFileError: it cannot be read, or anything in it is wrong.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise PolicyFileError(str(path), [f"cannot be read: {error.strerror or error}"]) from None
    if len(raw) > FILE_BYTES_MAX:
        raise PolicyFileError(str(path), [f"has more than {FILE_BYTES_MAX:,} bytes"])
    return parse_policies(raw, str(path))


def parse_policies(raw: bytes, path: str, *, alone: bool = True) -> FileContent:
    """What a file's bytes say.

    Args:
        raw: YAML, or JSON, which is YAML.
        path: the file's name, for the faults.
        alone: whether it may refer only to what is in it.

    Raises:
        PolicyFileError: anything is wrong.
    """
    document = _Document()
    try:
        value = document.read(raw)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what = "is nested too deeply" if isinstance(error, RecursionError) else _plain(error)
        raise PolicyFileError(path, [what]) from None
    faults = list(document.faults)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise PolicyFileError(path, ["must be a mapping with `policies` and `experiments`"])
    faults += [
        Fault(str(key)[:64], "there is no such field; there are policies, experiments")
        for key in value
        if key not in ("policies", "experiments")
    ]
    policies = _items(value, "policies", Policy, faults)
    experiments = _items(value, "experiments", Experiment, faults)
    for number, policy in policies:
        faults += check_policy(policy, f"policies[{number}].")
    for number, experiment in experiments:
        faults += check_experiment(experiment, f"experiments[{number}].")
    content = FileContent(
        tuple(policy for _, policy in policies),
        tuple(experiment for _, experiment in experiments),
    )
    if alone and not faults:
        faults += PolicySet(content.policies, content.experiments).faults
    if faults:
        raise PolicyFileError(path, [document.told(fault) for fault in faults])
    return content


def _items(
    value: dict[str, object], name: str, kind: type[_Item], faults: list[Fault]
) -> list[tuple[int, _Item]]:
    """The items of one list that could be read, with their numbers."""
    listed = value.get(name)
    if listed is None:
        return []
    if not isinstance(listed, list):
        faults.append(Fault(name, "must be a list"))
        return []
    if len(listed) > RULE_COUNT_MAX:
        faults.append(Fault(name, f"has {len(listed):,} entries; at most {RULE_COUNT_MAX:,}"))
        return []
    found: list[tuple[int, _Item]] = []
    seen: set[str] = set()
    for number, one in enumerate(listed):
        item = read(one, kind, f"{name}[{number}]", faults)
        if item is None:
            continue
        if item.full_name in seen:
            faults.append(Fault(f"{name}[{number}].name", f"{item.name!r} stands there twice"))
        seen.add(item.full_name)
        found.append((number, item))
    return found


class _Document:
    """A YAML document's values, and the line of each.

    Attributes:
        faults: keys that stand twice in one mapping, where YAML would silently take the last.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._lines: dict[str, int] = {}
        self._nodes = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def read(self, raw: bytes) -> object:
        """The document's value.

        Raises:
            YAMLError, ValueError: it is no YAML, or too much of it.
            RecursionError: it is nested too deeply.
        """
        node = yaml.compose(raw, yaml.SafeLoader)
        return None if node is None else self._value(node, "")

    def told(self, fault: Fault) -> str:
        """A fault with its line, or that of the nearest thing around it."""
        path = fault.path
        while path and path not in self._lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        line = self._lines.get(path)
        return str(fault) if line is None else f"line {line}: {fault}"

    def _value(self, node: yaml.Node, path: str) -> object:
        self._nodes += 1
        if self._nodes > NODE_COUNT_MAX:
            raise ValueError(f"has more than {NODE_COUNT_MAX:,} values")
        self._lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            found: dict[str, object] = {}
            for key_node, value_node in node.value:
                key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
                inner = f"{path}.{key}" if path else key
                if key in found:
                    self.faults.append(Fault(inner, "stands there twice"))
                found[key] = self._value(value_node, inner)
            return found
        if isinstance(node, yaml.SequenceNode):
            return [self._value(one, f"{path}[{n}]") for n, one in enumerate(node.value)]
        value: object = self._scalars.construct_object(node)
        return value


def _plain(error: Exception) -> str:
    """YAML's own words on one line."""
    return " ".join(str(error).split())[:300]
