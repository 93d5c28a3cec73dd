"""Anthropic's wire format of messages, both ways; it knows bytes and nothing else."""

from omni_grpc.rest_api.anthropic.errors import ANTHROPIC_ERRORS, AnthropicHeads
from omni_grpc.rest_api.anthropic.events import PING, EventWriter
from omni_grpc.rest_api.anthropic.message import encode_message
from omni_grpc.rest_api.anthropic.request import (
    MARKS,
    MessagesOrder,
    has_marks,
    name_as_sent,
    own_names,
    read_messages,
    without_marks,
)
from omni_grpc.rest_api.anthropic.signatures import Signatures

__all__ = [
    "ANTHROPIC_ERRORS",
    "MARKS",
    "PING",
    "AnthropicHeads",
    "EventWriter",
    "MessagesOrder",
    "Signatures",
    "encode_message",
    "has_marks",
    "name_as_sent",
    "own_names",
    "read_messages",
    "without_marks",
]
