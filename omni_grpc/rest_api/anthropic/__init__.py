"""Anthropic's wire format of messages, both ways; it knows bytes and nothing else."""

from omni_grpc.rest_api.anthropic.errors import ANTHROPIC_ERRORS, AnthropicHeads
from omni_grpc.rest_api.anthropic.events import PING, EventWriter
from omni_grpc.rest_api.anthropic.fitting import MARKS, fitted, has_marks, without_marks
from omni_grpc.rest_api.anthropic.message import encode_message
from omni_grpc.rest_api.anthropic.request import (
    MessagesOrder,
    name_as_sent,
    own_names,
    read_messages,
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
    "fitted",
    "has_marks",
    "name_as_sent",
    "own_names",
    "read_messages",
    "without_marks",
]
