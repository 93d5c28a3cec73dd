"""Setting policies and experiments: checked whole, written in turn, refused with every reason.

A change that would leave anything else unusable is refused as well: a policy that an experiment is
served by cannot be deleted under it. What is refused changes nothing.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from omni_grpc.core.errors import AlreadyExists, EtagMismatch, FieldInvalid, NotFound
from omni_grpc.routing.experiment import Experiment
from omni_grpc.routing.experiment_report import ExperimentReport, report
from omni_grpc.routing.policies import Entry, Policies, entry_of, set_of
from omni_grpc.routing.policy_checks import (
    check_experiment,
    check_policy,
    names_of,
    unknown_models,
)
from omni_grpc.routing.policy_file import RULE_COUNT_MAX
from omni_grpc.routing.policy_model import Policy
from omni_grpc.routing.policy_reading import FAULTS_TOLD_MAX, Fault
from omni_grpc.routing.store import Content, Item, Kind, Stored

CALLS_REPORTED_MAX: Final = 200_000
"""The newest calls that a report is made from: about a second of CPU, and some 100 MB."""

_NAME: Final = re.compile(r"(.{1,256})/(routingPolicies|experiments)/([^/]{1,63})")
_KINDS: Final = {"routingPolicies": Kind.POLICY, "experiments": Kind.EXPERIMENT}
_COLLECTIONS: Final = {kind: name for name, kind in _KINDS.items()}
_WORDS: Final = {Kind.POLICY: "policy", Kind.EXPERIMENT: "experiment"}

Change = Callable[[Entry], Item]


class Must(StrEnum):
    """What must be so before something is written."""

    BE_NEW = "be new"
    NOTHING = "nothing"


class Written(msgspec.Struct, frozen=True):
    """What was written, and what its writer should know."""

    entry: Entry
    warnings: tuple[str, ...]


class PolicyAdmin:
    """What AdminService and the commands do with policies and experiments.

    Every method raises LedgerUnavailable when the database does not answer.

    Args:
        policies: this process's; what is written here holds in it at once.
    """

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    async def put(self, item: Item, *, actor: str, must: Must) -> Written:
        """Write a policy or an experiment. One without a start begins now, or when it did before.

        Raises:
            FieldInvalid: anything about it is wrong; the message has every fault.
            AlreadyExists: it must be new, and is not.
        """
        faults = check_policy(item) if isinstance(item, Policy) else check_experiment(item)
        _refuse(faults)
        return await self._write(
            item.full_name, Kind.of(item), lambda row: self._put(item, row, must), actor
        )

    async def change(
        self, name: str, kind: Kind, change: Change, *, etag: str, actor: str
    ) -> Written:
        """Change what stands in the database.

        Args:
            name: its full name.
            kind: what it must be.
            change: from what stands there now; its scope and name stay.
            etag: what it must be now; anything if empty.
            actor: who asks for it.

        Raises:
            FieldInvalid: anything about the outcome is wrong, or it is the file's.
            NotFound: there is none.
            EtagMismatch: it was changed meanwhile.
        """
        _parsed(name, kind)

        def make(row: Stored | None) -> Item:
            return change(entry_of(self._found(row, kind, name, etag)))

        return await self._write(name, kind, make, actor)

    async def delete(self, name: str, kind: Kind, *, etag: str, actor: str) -> None:
        """Take away what stands in the database.

        Raises:
            FieldInvalid: something else needs it, or it is the file's.
            NotFound: there is none.
            EtagMismatch: it was changed since.
        """
        scope, own = _parsed(name, kind)

        def decide(content: Content) -> None:
            self._found(_row(content, name), kind, name, etag)
            rest = tuple(row for row in content.rows if row.item.full_name != name)
            self._refuse_broken(content, Content(content.version, rest), "name")

        await self._policies.store.change(kind, scope, own, decide, actor=actor)
        await self._policies.load()

    async def get(self, name: str, kind: Kind) -> Entry:
        """One by its full name: the database's, or else the file's.

        Raises:
            FieldInvalid: it is no name.
            NotFound: there is none.
        """
        _parsed(name, kind)
        for entry in await self.entries(kind):
            if entry.item.full_name == name:
                return entry
        raise _missing(kind, name)

    async def entries(self, kind: Kind) -> tuple[Entry, ...]:
        """All of a kind as they are now, ordered by full name."""
        await self._policies.refresh()
        return self._policies.entries(kind)

    async def report(self, name: str) -> ExperimentReport:
        """What an experiment found so far.

        Raises:
            FieldInvalid: it is no experiment's name.
            NotFound: there is none.
        """
        item = (await self.get(name, Kind.EXPERIMENT)).item
        if not isinstance(item, Experiment):
            raise TypeError("no experiment")
        calls = await self._policies.store.calls(name, CALLS_REPORTED_MAX)
        warnings: tuple[str, ...] = ()
        if len(calls) == CALLS_REPORTED_MAX:
            warnings = (f"only the newest {CALLS_REPORTED_MAX:,} calls were looked at.",)
        return await asyncio.to_thread(report, item, calls, warnings=warnings)

    async def _write(
        self, name: str, kind: Kind, make: Callable[[Stored | None], Item], actor: str
    ) -> Written:
        scope, own = _parsed(name, kind)
        warnings: list[str] = []

        def decide(content: Content) -> Item:
            before = _row(content, name)
            item = make(before)
            _refuse(check_policy(item) if isinstance(item, Policy) else check_experiment(item))
            rest = [row for row in content.rows if row is not before]
            if before is None and sum(Kind.of(row.item) is kind for row in rest) >= RULE_COUNT_MAX:
                raise FieldInvalid(
                    f"There are {RULE_COUNT_MAX:,} of them already, which is the most there can "
                    "be; delete some first.",
                    field="name",
                )
            now = self._policies.now()
            after = Content(content.version, (*rest, Stored(item, 0, now, now, actor)))
            self._refuse_broken(content, after, kind.value)
            warnings.extend(self._warnings(item, before, after))
            return item

        stored = await self._policies.store.change(kind, scope, own, decide, actor=actor)
        if stored is None:
            raise TypeError("what was written is away")
        await self._policies.load()
        return Written(entry_of(stored), tuple(warnings))

    def _put(self, item: Item, before: Stored | None, must: Must) -> Item:
        if before is not None and must is Must.BE_NEW:
            raise AlreadyExists(
                f"`{item.full_name}` exists already. Update it, or choose another name.",
                field="name",
            )
        if isinstance(item, Experiment) and item.start_time is None:
            began = self._policies.now()
            if before is not None and isinstance(before.item, Experiment):
                began = before.item.start_time or began
            item = msgspec.structs.replace(item, start_time=began)
        return item

    def _found(self, row: Stored | None, kind: Kind, name: str, etag: str) -> Stored:
        """The row that is to be changed."""
        if row is None:
            if any(item.full_name == name for item in self._policies.file.items):
                raise FieldInvalid(
                    f"`{name}` stands in the policies file. Change it there; or create one of the "
                    "same name, which holds instead of it until that is deleted.",
                    field="name",
                )
            raise _missing(kind, name)
        if etag and etag != str(row.revision):
            raise EtagMismatch(
                f"`{name}` was changed by {row.update_by} at {row.update_time:%Y-%m-%d %H:%M:%S} "
                "UTC, after this etag was read. Read it again, then change it.",
                field="etag",
            )
        return row

    def _refuse_broken(self, before: Content, after: Content, field: str) -> None:
        """Go on only if nothing becomes unusable by a change.

        Raises:
            FieldInvalid: something would.
        """
        file, snapshot = self._policies.file, self._policies.snapshot
        was = set(set_of(before, file, snapshot).faults)
        broken = [fault for fault in set_of(after, file, snapshot).faults if fault not in was]
        if broken:
            told = "; ".join(f"`{fault.path}` {fault.message}" for fault in broken)
            raise FieldInvalid(f"That would be unusable: {told}.", field=field)

    def _warnings(self, item: Item, before: Stored | None, after: Content) -> Iterable[str]:
        """What the writer should know, and is no fault."""
        snapshot = self._policies.snapshot
        if isinstance(item, Policy):
            yield from unknown_models(names_of(item), snapshot)
            return
        yield from unknown_models((name for arm in item.arms for name in arm.models), snapshot)
        old = None if before is None else before.item
        now = self._policies.now()
        changed = isinstance(old, Experiment) and (old.arms, old.salt) != (item.arms, item.salt)
        if isinstance(old, Experiment) and changed and old.runs(now):
            yield (
                "the experiment runs, and units may now change their arms: its report mixes what "
                "was before with what comes. A new experiment would not."
            )
        for row in after.rows:
            other = row.item
            if (
                isinstance(other, Experiment)
                and other.scope == item.scope
                and other.name != item.name
                and _overlap(item, other)
            ):
                yield (
                    f"{other.full_name} runs at the same time in the same scope: a call that both "
                    "are for is part of the one that began first."
                )


def _overlap(one: Experiment, other: Experiment) -> bool:
    starts = [start for start in (one.start_time, other.start_time) if start is not None]
    ends = [end for end in (one.end_time, other.end_time) if end is not None]
    return not starts or not ends or max(starts) < min(ends)


def _row(content: Content, name: str) -> Stored | None:
    return next((row for row in content.rows if row.item.full_name == name), None)


def _refuse(faults: Sequence[Fault]) -> None:
    """Go on only without faults.

    Raises:
        FieldInvalid: with all of them, and the path of the first.
    """
    if faults:
        told = "; ".join(str(fault) for fault in faults[:FAULTS_TOLD_MAX])
        raise FieldInvalid(f"{told}.", field=faults[0].path)


def _parsed(name: str, kind: Kind) -> tuple[str, str]:
    """The scope and the id in a full name."""
    match = _NAME.fullmatch(name)
    if match is None or _KINDS[match[2]] is not kind:
        own = _WORDS[kind]
        raise FieldInvalid(
            f"`name` must have the form {{scope}}/{_COLLECTIONS[kind]}/{{{own}}}.", field="name"
        )
    return match[1], match[3]


def _missing(kind: Kind, name: str) -> NotFound:
    return NotFound(f"There is no {_WORDS[kind]} `{name}`. Look at the list of them.")
