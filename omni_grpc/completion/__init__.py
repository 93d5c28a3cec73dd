"""Completion: the gates of a call and the running of its plan; one door for every transport."""

from omni_grpc.completion.accounts import Account, Accounts
from omni_grpc.completion.agent_runs import AgentRuns, RunTotal
from omni_grpc.completion.call import Call
from omni_grpc.completion.call_report import CallReports
from omni_grpc.completion.chats import ChatEvent, Chats
from omni_grpc.completion.classifying import Classifier
from omni_grpc.completion.estimates import Estimate, Estimates
from omni_grpc.completion.gates import Gates
from omni_grpc.completion.media import Media, SpeechPart
from omni_grpc.completion.media_plan import MediaRouter
from omni_grpc.completion.own_credentials import HOUSE, OwnCredentials
from omni_grpc.completion.pages import PageTokens, page_size
from omni_grpc.completion.probes import Probes
from omni_grpc.completion.repeats import SEAL_PURPOSE, Repeats
from omni_grpc.completion.request_ids import checked_request_id
from omni_grpc.completion.store import AgentRunStore, ResponseStore
from omni_grpc.completion.stored_responses import (
    RESPONSE_SEAL_PURPOSE,
    KeptResponse,
    StoredResponses,
    place_of,
)

__all__ = [
    "HOUSE",
    "RESPONSE_SEAL_PURPOSE",
    "SEAL_PURPOSE",
    "Account",
    "Accounts",
    "AgentRunStore",
    "AgentRuns",
    "Call",
    "CallReports",
    "ChatEvent",
    "Chats",
    "Classifier",
    "Estimate",
    "Estimates",
    "Gates",
    "KeptResponse",
    "Media",
    "MediaRouter",
    "OwnCredentials",
    "PageTokens",
    "Probes",
    "Repeats",
    "ResponseStore",
    "RunTotal",
    "SpeechPart",
    "StoredResponses",
    "checked_request_id",
    "page_size",
    "place_of",
]
