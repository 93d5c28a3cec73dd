"""Small offers and facts for tests that need no real ones, and empty catalogs to put them in."""

from typing import Any

import psycopg

from omni_grpc.catalog import Modality, Mode, Offer, OfferFacts, Quote
from omni_grpc.core.money import Price, Rate, Unit
from omni_grpc.storage import EmbeddedPostgres, migrations_folder

Rows = list[tuple[object, ...]]

MIGRATIONS = ("0003_catalog.sql", "0007_catalog_facts.sql", "0008_catalog_sync.sql")

TEXT = frozenset({Modality.TEXT})


def rates(prompt: int = 1_000, completion: int = 2_000) -> tuple[Rate, ...]:
    return tuple(sorted((Rate(Unit.PROMPT, 0, prompt), Rate(Unit.COMPLETION, 0, completion))))


def facts(offer_id: str, **changed: Any) -> OfferFacts:
    provider, _, name = offer_id.partition("/")
    given = {
        "provider": provider,
        "provider_model": name,
        "model": name,
        "display_name": name,
        "quote": Quote(rates=rates()),
    }
    return OfferFacts(**{**given, **changed})


def offer(offer_id: str, **changed: Any) -> Offer:
    provider, _, name = offer_id.partition("/")
    given = {
        "id": offer_id,
        "provider": provider,
        "model": name,
        "provider_model": name,
        "display_name": name,
        "mode": Mode.CHAT,
        "context_tokens_max": None,
        "prompt_tokens_max": None,
        "output_tokens_max": None,
        "input_modalities": TEXT,
        "output_modalities": TEXT,
        "tools": False,
        "structured_output": None,
        "reasoning": False,
        "temperature": None,
        "free": False,
        "deprecated": False,
        "by_name_only": False,
        "enabled": True,
        "release_date": None,
        "price": Price(1, rates()),
    }
    return Offer(**{**given, **changed})


def create_catalog(server: EmbeddedPostgres, name: str) -> str:
    """A new database with the catalog's tables; returns its URL."""
    url = server.create_database(name)
    with psycopg.connect(url) as connection:
        for migration in MIGRATIONS:
            connection.execute((migrations_folder() / migration).read_bytes())
    return url
