"""CatalogService: what can be called, and what it costs. Reads come from memory."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Any, Final

import grpc
from google.protobuf import timestamp_pb2
from omni.catalog.v1 import catalog_service_pb2 as pb
from omni.catalog.v1 import catalog_service_pb2_grpc as pb_grpc

from omni_grpc.catalog import CatalogSnapshot, Offer, parse_filter
from omni_grpc.completion import PageTokens, page_size
from omni_grpc.core.errors import FieldInvalid, NotFound
from omni_grpc.core.limits import MODEL_ID_CHARS_MAX

_Context = grpc.aio.ServicerContext[Any, Any]
_NAME: Final = re.compile(r"providers/([^/]+)/models/(.+)", re.DOTALL)


class CatalogServicer(pb_grpc.CatalogServiceServicer):
    """Serves the catalog."""

    def __init__(
        self,
        snapshot: Callable[[], CatalogSnapshot],
        providers: frozenset[str],
        tokens: PageTokens,
    ) -> None:
        self._snapshot = snapshot
        self._providers = providers
        self._tokens = tokens

    async def GetModel(
        self,
        request: pb.GetModelRequest,
        context: _Context,
    ) -> pb.GetModelResponse:
        """Reads one offer."""
        match = _NAME.fullmatch(request.name)
        if match is None:
            raise FieldInvalid("name must be providers/{provider}/models/{model}.", field="name")
        snapshot = self._snapshot()
        offer_id = "/".join(match.groups())
        if len(offer_id) > MODEL_ID_CHARS_MAX:
            raise FieldInvalid(
                f"name must have a model of at most {MODEL_ID_CHARS_MAX} characters.", field="name"
            )
        offer = snapshot.get(offer_id)
        if offer is None:
            near = snapshot.suggestions(offer_id)
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise NotFound(f"There is no model {offer_id!r}.{hint}")
        return pb.GetModelResponse(model=self._model(offer))

    async def ListModels(
        self,
        request: pb.ListModelsRequest,
        context: _Context,
    ) -> pb.ListModelsResponse:
        """Lists offers by name."""
        query = ("models", request.filter)
        page = self._snapshot().list_offers(
            parse_filter(request.filter),
            after_id=self._tokens.open_text(query, request.page_token),
            limit=page_size(request.page_size),
            providers=self._providers,
        )
        after = page.next_after_id
        return pb.ListModelsResponse(
            models=[self._model(offer) for offer in page.offers],
            next_page_token="" if after is None else self._tokens.seal(query, after),
        )

    def _model(self, offer: Offer) -> pb.Model:
        release_time = None
        if offer.release_date is not None:
            release_time = timestamp_pb2.Timestamp()
            release_time.FromDatetime(datetime.combine(offer.release_date, time(), UTC))
        price = offer.price
        return pb.Model(
            name=f"providers/{offer.provider}/models/{offer.provider_model}",
            model=offer.id,
            display_name=offer.display_name,
            pricing=None
            if price is None
            else pb.Pricing(
                version=price.version,
                rates=[
                    pb.Rate(
                        unit=rate.unit,
                        min_prompt_token_count=rate.prompt_tokens_min,
                        nanousd_per_mtok=rate.nanousd_per_mtok,
                    )
                    for rate in price.rates
                ],
            ),
            context_token_count=offer.context_tokens_max,
            output_token_count=offer.output_tokens_max,
            input_modalities=sorted(offer.input_modalities),
            output_modalities=sorted(offer.output_modalities),
            tools=offer.tools,
            structured_output=bool(offer.structured_output),
            reasoning=offer.reasoning,
            free=offer.free,
            deprecated=offer.deprecated,
            callable=offer.callable_at(self._providers),
            release_time=release_time,
        )
