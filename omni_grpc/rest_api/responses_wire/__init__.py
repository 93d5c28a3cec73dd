"""OpenAI's wire format of responses, both ways; it knows bytes and nothing else."""

from omni_grpc.rest_api.responses_wire.events import ResponseWriter
from omni_grpc.rest_api.responses_wire.input_items import item_resources
from omni_grpc.rest_api.responses_wire.reasoning import SEAL_PURPOSE, ReasoningSeal
from omni_grpc.rest_api.responses_wire.request import Order, in_callers_words, read_order
from omni_grpc.rest_api.responses_wire.response import (
    ResponseFrame,
    call_id_of_response,
    output_of,
    response_id,
)

__all__ = [
    "SEAL_PURPOSE",
    "Order",
    "ReasoningSeal",
    "ResponseFrame",
    "ResponseWriter",
    "call_id_of_response",
    "in_callers_words",
    "item_resources",
    "output_of",
    "read_order",
    "response_id",
]
