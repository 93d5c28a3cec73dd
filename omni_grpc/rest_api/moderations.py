"""`POST /v1/moderations`."""

from typing import Final

from omni_grpc.completion import Call, Gates, Media
from omni_grpc.core.media import MediaCompletion, Moderation, ModerationRequest
from omni_grpc.rest_api.exchange import Exchange
from omni_grpc.rest_api.media_answer import JSON, answer_plain
from omni_grpc.rest_api.openai.media_answers import encode_moderation
from omni_grpc.rest_api.openai.media_wire import read_moderation

PATH: Final = "/v1/moderations"


class ModerationsRoute:
    """Judges content for the door."""

    def __init__(self, media: Media, gates: Gates) -> None:
        self._media = media
        self._gates = gates

    async def __call__(self, exchange: Exchange, call: Call) -> None:
        """Reads the body, judges, sends the verdicts."""

        async def read() -> ModerationRequest:
            return read_moderation(await exchange.body())

        await answer_plain(exchange, call, self._gates, read, self._media.moderate, _write)


def _write(found: MediaCompletion[Moderation], _request: ModerationRequest) -> tuple[bytes, bytes]:
    return encode_moderation(found), JSON
