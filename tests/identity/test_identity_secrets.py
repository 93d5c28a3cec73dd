"""No secret leaves by any way but `NewKey.secret`: all that a story leaves is searched."""

import base64
import io
import logging
import traceback

import msgspec
import psycopg
import pytest
import structlog
from identity_rig import TESTS, keys_of, new_key, revoke
from rich.pretty import pretty_repr

from omni_grpc.core.errors import OmniError


def forms(secret: str) -> list[str]:
    """A secret as it could leak: whole and by halves, each as it is, in base64 and in hex."""
    secret = secret.rpartition("_")[2]
    middle = len(secret) // 2
    texts = [secret, secret[:middle], secret[middle:]]
    # Base64 of a part depends on where in its text it stands, so three offsets are looked for.
    encoded = [
        base64.b64encode(b"\0" * offset + text.encode()).decode()[4:-4]
        for text in texts
        for offset in range(3)
    ]
    return [*texts, *encoded, *(text.encode().hex() for text in texts)]


def leaks(secret: str, haystack: str) -> list[str]:
    return [form for form in forms(secret) if form in haystack or form in haystack.lower()]


@pytest.fixture
def logged():
    """Everything that any logger says, at every level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    before = structlog.get_config()
    structlog.configure(
        processors=[
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
    yield stream
    structlog.configure(**before)
    root.removeHandler(handler)
    root.setLevel(level)


def dump(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        return "\n".join(
            str(row)
            for table in ("org", "api_key", "account", "audit_entry")
            for row in connection.execute(f"SELECT t::text, to_jsonb(t) FROM {table} t").fetchall()
        )


async def tell_everything(use_case) -> str:
    """A use case's outcome as a careless programmer would print it."""
    try:
        value = await use_case
    except OmniError as error:
        texts = [repr(error), str(error), str(vars(error)), pretty_repr(error)]
        return "\n".join([*texts, *traceback.format_exception(error)])
    return f"{value!r} {value} {pretty_repr(value)} {value=}"


@pytest.mark.parametrize("planted", [False, True])
async def test_a_secret_is_shown_once_and_nowhere_else(worker, database_url, logged, door, planted):
    identity = worker()
    await identity.orgs.create(TESTS, "acme")
    admin = await identity.bootstrap()
    mine = await new_key(identity)
    gone = await new_key(identity)
    secrets = [new.secret for new in (admin, mine, gone)]
    told = [repr(admin), str(mine), pretty_repr(gone), f"{[admin, mine]}", repr(identity)]
    told += [repr(vars(identity)), str(await revoke(identity, gone.key))]
    secrets.append(mine.secret[:-2] + "AB")
    for text in (*secrets, *(f"{text}x" for text in secrets), f" {mine.secret}"):
        told.append(await tell_everything(identity.authenticate(text)))
        told.append(await tell_everything(identity.get_org(text)))
        told.append(await tell_everything(identity.orgs.create(TESTS, text)))
    told.append(await tell_everything(keys_of(identity)))
    told.append(await tell_everything(identity.bootstrap()))
    told.append(dump(database_url))
    door.shut()
    told.append(await tell_everything(worker().authenticate(mine.secret)))
    if planted:
        structlog.get_logger().info("planted", key=mine.secret)
    told.append(logged.getvalue())
    whole = "\n".join(told)
    assert "api_key_refused" in whole
    assert admin.key.prefix in whole
    assert any(leaks(secret, whole) for secret in secrets) is planted


def test_the_search_finds_each_form():
    secret = "omni_0123456789ab_" + "aB3" * 14 + "z"
    part = secret.rpartition("_")[2]
    for leak in (
        part[:21],
        part[21:],
        part.encode().hex().upper(),
        base64.b64encode(part.encode()).decode(),
        base64.b64encode(f"Bearer {secret}".encode()).decode(),
    ):
        assert leaks(secret, f"…{leak}…")


async def test_the_hash_in_the_database_is_not_a_plain_one(acme_key, database_url):
    import hashlib

    text = dump(database_url)
    part = acme_key.secret.rpartition("_")[2]
    for plain in (acme_key.secret, part):
        for algorithm in ("sha256", "sha512", "md5", "blake2b"):
            assert hashlib.new(algorithm, plain.encode()).hexdigest()[:64] not in text


def test_a_logged_new_key_hides_its_secret_in_every_renderer(acme_key):
    event = {"event": "made", "new": acme_key}
    for renderer in (
        structlog.processors.JSONRenderer(),
        structlog.processors.KeyValueRenderer(),
        structlog.dev.ConsoleRenderer(),
    ):
        text = renderer(None, "info", dict(event))
        assert not leaks(acme_key.secret, str(text))
        assert acme_key.key.prefix in str(text)
    assert leaks(acme_key.secret, msgspec.json.encode(acme_key.secret).decode())
