"""Setting policies and experiments: checked whole, written in turn, refused with every reason.

A change that would leave anything else unusable is refused as well: a policy that an experiment is
served by cannot be deleted under it. What is refused changes nothing.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from omni_grpc.audit import Actor
from omni_grpc.core.errors import AlreadyExists, EtagMismatch, FieldInvalid, TooMany
from omni_grpc.core.missing import missing
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
from omni_grpc.routing.policy_model import GLOBAL_SCOPE, Policy
from omni_grpc.routing.policy_reading import FAULTS_TOLD_MAX, Fault
from omni_grpc.routing.store import Changes, Content, Item, Kind, Stored

CALLS_REPORTED_MAX: Final = 200_000
"""The newest calls that a report is made from: about a second of CPU, and some 100 MB."""

STORED_COUNT_MAX: Final = 5_000
"""Policies, and experiments, of all organisations together: each worker holds all in memory, and
reads all anew, a quarter of a second, when one changes. Those of whoever runs the service are not
among them, so that no tenants stand in the way of these."""

ORG_COUNT_MAX: Final = 50
"""Policies, and experiments, of one organisation, while half of the room is free."""

ROOM_SHARE: Final = 50
"""From then on an organisation may have so small a part of the room that is free, one at least. So
nobody takes the room of the others: a hundred organisations that want all they can get leave a
third of it free, a thousand a twentieth."""

_NAME: Final = re.compile(r"(.{1,256})/(routingPolicies|experiments)/([^/]{1,63})")
_COLLECTIONS: Final = {Kind.POLICY: "routingPolicies", Kind.EXPERIMENT: "experiments"}
_WORDS: Final = {Kind.POLICY: "policy", Kind.EXPERIMENT: "experiment"}

Change = Callable[[Entry], Item]


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

    async def create(self, item: Item, *, actor: Actor) -> Written:
        """Write a new policy or experiment. An experiment without a start begins now.

        Raises:
            FieldInvalid: anything about it is wrong; the message has every fault.
            AlreadyExists: there is one of this name.
        """

        def make(content: Content) -> list[Item]:
            if _row(content, item.full_name) is not None:
                raise AlreadyExists(
                    f"`{item.full_name}` exists already. Update it, or choose another name.",
                    field="name",
                )
            return [item]

        return (await self._write(make, actor))[0]

    async def put_all(self, items: Sequence[Item], *, actor: Actor) -> tuple[Written, ...]:
        """Write policies and experiments, new or not; all or none.

        An experiment without a start begins now, or when it did before.

        Raises:
            FieldInvalid: anything about one is wrong; the message has every fault.
        """
        return await self._write(lambda _: items, actor)

    async def change(
        self, name: str, kind: Kind, change: Change, *, etag: str, actor: Actor
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
        _check_name(name, kind)

        def make(content: Content) -> list[Item]:
            return [change(entry_of(self._found(content, name, etag)))]

        return (await self._write(make, actor))[0]

    async def delete(self, name: str, kind: Kind, *, etag: str, actor: Actor) -> None:
        """Take away what stands in the database.

        Raises:
            FieldInvalid: something else needs it, or it is the file's.
            NotFound: there is none.
            EtagMismatch: it was changed since.
        """
        _check_name(name, kind)

        def decide(content: Content) -> Changes:
            row = self._found(content, name, etag)
            rest = tuple(other for other in content.rows if other is not row)
            self._refuse_broken(content, Content(content.version, rest), "name")
            return Changes(remove=(row.item,))

        await self._policies.store.change(decide, actor=actor)
        await self._policies.load()

    async def get(self, name: str, kind: Kind) -> Entry:
        """One by its full name: the database's, or else the file's.

        Raises:
            FieldInvalid: it is no name.
            NotFound: there is none.
        """
        _check_name(name, kind)
        entries = await self.entries(kind)
        for entry in entries:
            if entry.item.full_name == name:
                return entry
        raise missing(name, "name", (entry.item.full_name for entry in entries))

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
        self, make: Callable[[Content], Sequence[Item]], actor: Actor
    ) -> tuple[Written, ...]:
        warnings: dict[str, tuple[str, ...]] = {}

        def decide(content: Content) -> Changes:
            before = {row.item.full_name: row for row in content.rows}
            items = [self._begun(item, before.get(item.full_name)) for item in make(content)]
            _refuse(items)
            now = self._policies.now()
            rows = dict(before)
            rows.update((item.full_name, Stored(item, 0, now, now, actor.name)) for item in items)
            after = Content(content.version, tuple(rows.values()))
            _refuse_many(content, after)
            self._refuse_broken(content, after, "rule")
            for item in items:
                old = before.get(item.full_name)
                warnings[item.full_name] = tuple(self._warnings(item, old, after))
            return Changes(put=tuple(items))

        written = await self._policies.store.change(decide, actor=actor)
        await self._policies.load()
        return tuple(Written(entry_of(row), warnings[row.item.full_name]) for row in written)

    def _begun(self, item: Item, before: Stored | None) -> Item:
        """An experiment that has a start: its own, or as before, or now."""
        if isinstance(item, Policy) or item.start_time is not None:
            return item
        began = self._policies.now()
        if before is not None and isinstance(before.item, Experiment):
            began = before.item.start_time or began
        return msgspec.structs.replace(item, start_time=began)

    def _found(self, content: Content, name: str, etag: str) -> Stored:
        """The row that is to be changed."""
        row = _row(content, name)
        if row is None:
            if any(item.full_name == name for item in self._policies.file.items):
                raise FieldInvalid(
                    f"`{name}` stands in the policies file. Change it there; or create one of the "
                    "same name, which holds instead of it until that is deleted.",
                    field="name",
                )
            raise missing(name, "name", (other.item.full_name for other in content.rows))
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
            yield from unknown_models(names_of(item), item.scope, snapshot)
            return
        named = (name for arm in item.arms for name in arm.models)
        yield from unknown_models(named, item.scope, snapshot)
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


def _owner(item: Item) -> str:
    """`global`, or the organisation whose calls an item is for."""
    return "/".join(item.scope.split("/")[:2])


def _refuse_many(before: Content, after: Content) -> None:
    """Go on only if there is room. Who has more than a part that has shrunk since keeps it.

    Raises:
        TooMany: there is none, or not for an owner that would have more than before.
    """
    for kind in Kind:
        had, has = _counts(before, kind), _counts(after, kind)
        taken = has.total() - has[GLOBAL_SCOPE]
        free = STORED_COUNT_MAX - taken
        grown = [owner for owner, count in has.items() if count > had[owner]]
        for owner in grown:
            if owner == GLOBAL_SCOPE:
                most = RULE_COUNT_MAX
            elif free < 0:
                raise TooMany(
                    f"There are {STORED_COUNT_MAX:,} already, which is the most there can be.",
                    field="name",
                    metadata={"limit": str(STORED_COUNT_MAX)},
                )
            else:
                most = min(ORG_COUNT_MAX, max(1, free // ROOM_SHARE))
            if has[owner] > most:
                raise TooMany(
                    f"`{owner}` has {had[owner]:,} already, and {most:,} is the most it can have "
                    "while others have as many as they do; delete some first.",
                    field="name",
                    metadata={"limit": str(most)},
                )


def _counts(content: Content, kind: Kind) -> "Counter[str]":
    return Counter(_owner(row.item) for row in content.rows if Kind.of(row.item) is kind)


def _overlap(one: Experiment, other: Experiment) -> bool:
    starts = [start for start in (one.start_time, other.start_time) if start is not None]
    ends = [end for end in (one.end_time, other.end_time) if end is not None]
    return not starts or not ends or max(starts) < min(ends)


def _row(content: Content, name: str) -> Stored | None:
    return next((row for row in content.rows if row.item.full_name == name), None)


def _refuse(items: Sequence[Item]) -> None:
    """Go on only without faults.

    Raises:
        FieldInvalid: with all of them, and the path of the first.
    """
    faults: list[Fault] = []
    for item in items:
        path = f"{item.name}: " if len(items) > 1 else ""
        if isinstance(item, Policy):
            faults += check_policy(item, path)
        else:
            faults += check_experiment(item, path)
    if faults:
        told = "; ".join(str(fault) for fault in faults[:FAULTS_TOLD_MAX])
        raise FieldInvalid(f"{told}.", field=faults[0].path)


def _check_name(name: str, kind: Kind) -> None:
    """Go on only with a full name of this kind."""
    match = _NAME.fullmatch(name)
    if match is None or match[2] != _COLLECTIONS[kind]:
        raise FieldInvalid(
            f"`name` must have the form {{scope}}/{_COLLECTIONS[kind]}/{{{_WORDS[kind]}}}.",
            field="name",
        )
