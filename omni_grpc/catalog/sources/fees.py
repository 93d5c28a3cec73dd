"""Sellers whose price by the token is not their whole price, whoever states it."""

from typing import Final

import msgspec

from omni_grpc.catalog.facts import OfferFacts
from omni_grpc.catalog.prices import Quote

_REFUSALS: Final = {
    "perplexity": "Perplexity charges a fee for each request and its searches beside the tokens; "
    "give a price that covers it in the file of providers",
}
"""Why an offer of a provider has no price, by the provider's id."""


def honest(facts: OfferFacts) -> OfferFacts:
    """Without the price of those that charge for more than their tokens, which it does not say."""
    refusal = _REFUSALS.get(facts.provider)
    if refusal is None or not facts.quote.rates:
        return facts
    return msgspec.structs.replace(facts, quote=Quote(refusal=refusal, beyond=True))
