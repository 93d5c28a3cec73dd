"""The SQL of what operators say: rules as they were said, and what follows from them.

Every function is for use inside a transaction that took its turn (`writing.lock`). `settle` must
run whenever rules or offers changed; it writes down each changed fact, and makes a new price
version for each changed price, so that no sync can touch or lose an operator's word.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from psycopg.rows import args_row, scalar_row

from omni_grpc.catalog.aliases import check_alias, subject_of
from omni_grpc.catalog.changes import ALIAS, Change
from omni_grpc.catalog.changes import PRICE as PRICE_FIELD
from omni_grpc.catalog.model import Alias
from omni_grpc.catalog.prices import rates_text
from omni_grpc.catalog.replacement import loop
from omni_grpc.catalog.rows import PriceReader
from omni_grpc.catalog.words import (
    CALL,
    FILE,
    LAYER_NAMES,
    PRICE,
    Expanded,
    OwnPrice,
    Rule,
    Word,
    Words,
    expand,
)
from omni_grpc.catalog.writing import add_prices, copy, each, record
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.money import Rate
from omni_grpc.storage import Connection

RULES: Final = """
SELECT layer, pattern, words::text FROM operator_rule ORDER BY layer, ordinal, pattern
"""
WORDS: Final = "SELECT subject, field, value::text, layer, pattern FROM operator_word"
FORGET_LAYER: Final = "DELETE FROM operator_rule WHERE layer = %s"
COPY_RULES: Final = "COPY operator_rule (layer, pattern, ordinal, words) FROM STDIN"
RULE_OF_CALL: Final = """
SELECT words::text FROM operator_rule WHERE layer = 'call' AND pattern = %s
"""
SET_RULE_OF_CALL: Final = """
INSERT INTO operator_rule (layer, pattern, ordinal, words) VALUES ('call', %s, 0, %s)
ON CONFLICT (layer, pattern) DO UPDATE
SET words = excluded.words, update_time = clock_timestamp()
"""
FORGET_RULE_OF_CALL: Final = "DELETE FROM operator_rule WHERE layer = 'call' AND pattern = %s"
FORGET_WORDS: Final = """
DELETE FROM operator_word w USING unnest(%s::text[], %s::text[]) AS gone (subject, field)
WHERE w.subject = gone.subject AND w.field = gone.field
"""
COPY_WORDS: Final = "COPY operator_word (subject, field, value, layer, pattern) FROM STDIN"
OFFERS: Final = """
SELECT id, provider, model, provider_model, price_version, own_price_version FROM offer
"""
RATES: Final = """
SELECT price_version, unit, prompt_tokens_min, nanousd_per_mtok
FROM price_rate WHERE price_version = ANY(%s)
"""
SET_OWN_PRICE: Final = "UPDATE offer SET own_price_version = %s WHERE id = %s"

ALIASES: Final = "SELECT scope, name, targets, layer FROM alias ORDER BY scope, name, layer"
FORGET_FILE_ALIASES: Final = "DELETE FROM alias WHERE layer = 'file'"
COPY_ALIASES: Final = "COPY alias (scope, name, targets, layer) FROM STDIN"


class KnownOffer(msgspec.Struct, frozen=True):
    """What of an offer decides which words are about it, and what its price is."""

    id: str
    provider: str
    model: str
    provider_model: str
    price_version: int | None
    own_price_version: int | None


async def rules_of(connection: Connection) -> list[Rule]:
    """Every rule, those of calls first, in the order in which they are to be taken."""
    cursor = connection.cursor(row_factory=args_row(_rule))
    return await (await cursor.execute(RULES)).fetchall()


async def words_of(connection: Connection) -> Expanded:
    """Every word that holds now."""
    found: Expanded = {}

    def keep(subject: str, field: str, value: str, layer: str, pattern: str) -> None:
        found[subject, field] = Word(value.encode(), layer, pattern)

    await each(connection, WORDS, keep)
    return found


async def aliases_of(connection: Connection) -> list[tuple[Alias, str]]:
    """Every alias with its layer; of two of a scope and name the winning one is later."""

    def read(scope: str, name: str, targets: list[str], layer: str) -> tuple[Alias, str]:
        return Alias(scope=scope, name=name, targets=tuple(targets)), layer

    cursor = connection.cursor(row_factory=args_row(read))
    return await (await cursor.execute(ALIASES)).fetchall()


async def set_file(
    connection: Connection, rules: Sequence[Rule], aliases: Sequence[Alias], *, actor: str
) -> bool:
    """Make models.yaml's layer what the file says; returns whether that changed anything.

    Raises:
        FieldInvalid: an alias would mean itself, or a replacement lead back to its model.
    """
    held = [rule for rule in await rules_of(connection) if rule.layer == FILE]
    known = await aliases_of(connection)
    ours = sorted((alias for alias, layer in known if layer == FILE), key=_place)
    if held == list(rules) and ours == sorted(aliases, key=_place):
        return False
    theirs = [alias for alias, layer in known if layer != FILE]
    for alias in aliases:
        check_alias(alias, [*theirs, *aliases])
    await connection.execute(FORGET_LAYER, (FILE,))
    await copy(
        connection,
        COPY_RULES,
        (
            (rule.layer, rule.pattern, ordinal, msgspec.json.encode(rule.words).decode())
            for ordinal, rule in enumerate(rules)
        ),
    )
    await connection.execute(FORGET_FILE_ALIASES)
    await copy(
        connection,
        COPY_ALIASES,
        ((alias.scope, alias.name, list(alias.targets), FILE) for alias in aliases),
    )
    before, after = _targets(ours), _targets(aliases)
    changes = [
        Change(name, ALIAS, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    await record(connection, changes, LAYER_NAMES[FILE], actor)
    await settle(connection, actor, check=True)
    return True


async def set_words(
    connection: Connection, offer_id: str, words: Words, fields: Iterable[str], *, actor: str
) -> tuple[Words | None, Words | None] | None:
    """Make what calls said of an offer, in some fields, what `words` say of it.

    A field that `words` leave out is taken back. Returns what they said before
    and say now, None where that changed nothing.

    Raises:
        FieldInvalid: models.yaml speaks of such a field, or a replacement would lead back.
    """
    chosen = tuple(fields)
    holding = await words_of(connection)
    for field in chosen:
        word = holding.get((offer_id, field))
        if word is not None and word.layer == FILE:
            raise FieldInvalid(
                f"{LAYER_NAMES[FILE]} sets {field} of {offer_id} (at {word.pattern!r}), and it "
                "goes before calls. Change it there.",
                field="update_mask",
            )
    cursor = connection.cursor(row_factory=scalar_row)
    found = await (await cursor.execute(RULE_OF_CALL, (offer_id,))).fetchone()
    old = msgspec.json.decode(found, type=Words) if found else Words()
    new = msgspec.structs.replace(old, **{field: getattr(words, field) for field in chosen})
    if new == old:
        return None
    if new == Words():
        await connection.execute(FORGET_RULE_OF_CALL, (offer_id,))
    else:
        text = msgspec.json.encode(new).decode()
        await connection.execute(SET_RULE_OF_CALL, (offer_id, text))
    await settle(connection, actor, check=words.replacement is not None)
    return None if old == Words() else old, None if new == Words() else new


async def settle(connection: Connection, actor: str, *, check: bool = False) -> bool:
    """Bring what follows from the rules up to date; returns whether anything changed.

    Args:
        connection: inside the transaction.
        actor: who caused it, for the record of changes.
        check: whether replacements may be new, so that loops must be looked for.

    Raises:
        FieldInvalid: a replacement leads back to what it replaces.
    """
    rules, held = await rules_of(connection), await words_of(connection)
    if not rules and not held:
        return False
    offers: list[KnownOffer] = []
    await each(connection, OFFERS, lambda *row: offers.append(KnownOffer(*row)))
    aliases = {alias.name: alias.targets for alias, _ in await aliases_of(connection)}
    # Globs over thousands of offers take some 50 ms: the connection waits for it, not the loop.
    wanted, chain, changes = await asyncio.to_thread(
        _plan, rules, held, offers, aliases if check else None
    )
    if chain:
        raise FieldInvalid(
            f"The replacement would lead back to itself: {' → '.join(chain)}. What replaces a "
            "model must not be replaced by it.",
            field="replacement",
        )
    await _write_words(connection, held, wanted)
    for layer, rows in changes.items():
        await record(connection, rows, LAYER_NAMES[layer], actor)
    repriced = await _set_prices(connection, held, wanted, offers, actor)
    return repriced or held != wanted


def _plan(
    rules: Sequence[Rule],
    held: Expanded,
    offers: Sequence[KnownOffer],
    aliases: Mapping[str, Sequence[str]] | None,
) -> tuple[Expanded, tuple[str, ...], dict[str, list[Change]]]:
    """The words that follow from the rules, a loop of replacements, and changes by layer.

    Loops are looked for where `aliases` are given.
    """
    wanted = expand(rules, [(one.id, one.model) for one in offers])
    chain = () if aliases is None else _loop(wanted, offers, aliases)
    return wanted, chain, {layer: _changes(held, wanted, layer) for layer in (CALL, FILE)}


def _changes(held: Expanded, wanted: Expanded, layer: str) -> list[Change]:
    """The facts that changed by a layer's word, or by its silence; prices are recorded apart."""
    rows: list[Change] = []
    for subject, field in sorted(held.keys() | wanted.keys()):
        old, new = held.get((subject, field)), wanted.get((subject, field))
        teller = new or old
        if field == PRICE or teller is None or teller.layer != layer:
            continue
        before, after = _text(old), _text(new)
        if before != after:
            rows.append(Change(subject, field, before, after))
    return rows


async def _write_words(connection: Connection, held: Expanded, wanted: Expanded) -> None:
    gone = [key for key, word in held.items() if wanted.get(key) != word]
    if gone:
        subjects, fields = zip(*gone, strict=True)
        await connection.execute(FORGET_WORDS, (list(subjects), list(fields)))
    await copy(
        connection,
        COPY_WORDS,
        (
            (*key, word.value.decode(), word.layer, word.pattern)
            for key, word in wanted.items()
            if held.get(key) != word
        ),
    )


async def _set_prices(
    connection: Connection,
    held: Expanded,
    wanted: Expanded,
    offers: Sequence[KnownOffer],
    actor: str,
) -> bool:
    """New versions for prices that an operator's word changed; True if there was one."""
    said = {
        subject: msgspec.json.decode(word.value, type=OwnPrice)
        for (subject, field), word in wanted.items()
        if field == PRICE
    }
    moved = [one for one in offers if one.id in said or one.own_price_version is not None]
    if not moved:
        return False
    reader = PriceReader()
    versions = {version for one in moved for version in (one.price_version, one.own_price_version)}
    cursor = connection.cursor(row_factory=args_row(reader.add))
    await (await cursor.execute(RATES, (list(versions - {None}),))).fetchall()
    before = {one.id: reader.rates(one.own_price_version) for one in moved}
    after = {
        one.id: said[one.id].applied(reader.rates(one.price_version)) if one.id in said else ()
        for one in moved
    }
    changed = [one for one in moved if before[one.id] != tuple(sorted(after[one.id]))]
    own = await add_prices(
        connection,
        {one.id: after[one.id] for one in changed if after[one.id]},
        LAYER_NAMES[CALL],
    )
    await connection.cursor().executemany(
        SET_OWN_PRICE, [(own.get(one.id), one.id) for one in changed]
    )
    for layer in (CALL, FILE):
        rows = [
            _repriced(one.id, before[one.id], after[one.id], reader.rates(one.price_version))
            for one in changed
            if (wanted.get((one.id, PRICE)) or held[one.id, PRICE]).layer == layer
        ]
        await record(connection, rows, LAYER_NAMES[layer], actor)
    return bool(changed)


def _repriced(
    offer_id: str, before: Sequence[Rate], after: Sequence[Rate], synced: Sequence[Rate]
) -> Change:
    old, new = (rates_text(tuple(rates or synced)) or None for rates in (before, after))
    return Change(offer_id, PRICE_FIELD, old, new)


def _loop(
    wanted: Expanded, offers: Sequence[KnownOffer], aliases: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """A chain of replacements that comes back to itself; empty if there is none."""
    replacements = {
        subject: msgspec.json.decode(word.value, type=str)
        for (subject, field), word in wanted.items()
        if field == "replacement"
    }
    of_name: dict[str, set[str]] = {}
    for one in offers:
        for name in {one.id, one.model, one.provider_model}:
            of_name.setdefault(name, set()).add(one.id)

    def means(name: str) -> set[str]:
        found: set[str] = set()
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            current = waiting.pop()
            if current in aliases and current not in seen:
                seen.add(current)
                waiting += aliases[current]
            else:
                found |= of_name.get(current, set())
        return found

    return loop(replacements, means)


def _rule(layer: str, pattern: str, words: str) -> Rule:
    return Rule(layer, pattern, msgspec.json.decode(words, type=Words))


def _text(word: Word | None) -> str | None:
    """A value for people, as the record of changes has it."""
    if word is None:
        return None
    value = msgspec.json.decode(word.value)
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ",".join(value)
    return word.value.decode()


def _targets(aliases: Iterable[Alias]) -> dict[str, str]:
    return {subject_of(alias.scope, alias.name): ", ".join(alias.targets) for alias in aliases}


def _place(alias: Alias) -> tuple[str, str]:
    return alias.scope, alias.name
