"""Routing: which models can serve a request, and in which order to try them."""

from omni_grpc.routing.analysis import view_of
from omni_grpc.routing.attempts import markup_of
from omni_grpc.routing.breakers import BreakerState, OpenBreaker
from omni_grpc.routing.choosing import ROUTED, Chooser
from omni_grpc.routing.classifier import (
    classification_request,
    classifier_offer,
    read_classification,
)
from omni_grpc.routing.experiment import Experiment
from omni_grpc.routing.experiment_report import ExperimentReport
from omni_grpc.routing.experiment_statistics import Interval
from omni_grpc.routing.experiment_words import Metric
from omni_grpc.routing.health import Health
from omni_grpc.routing.judging import shared_judge
from omni_grpc.routing.plan import (
    Attempt,
    Baseline,
    Considered,
    Explanation,
    OwnAccess,
    Plan,
    RouteContext,
)
from omni_grpc.routing.policies import Entry, Policies, Source
from omni_grpc.routing.policy_admin import PolicyAdmin, Written
from omni_grpc.routing.policy_checks import is_scope
from omni_grpc.routing.policy_file import FileContent, PolicyFileError, parse_policies
from omni_grpc.routing.policy_model import Policy
from omni_grpc.routing.policy_reading import Fault, read
from omni_grpc.routing.prompts import prompt_tokens, prompt_upper_bound
from omni_grpc.routing.reasoning import asks_for_reasoning
from omni_grpc.routing.router import AUTO, Router
from omni_grpc.routing.speed_store import SpeedShare, SpeedStore
from omni_grpc.routing.speeds import Measured, SpeedMeter, measured
from omni_grpc.routing.store import Kind
from omni_grpc.routing.warmth import Warmth

__all__ = [
    "AUTO",
    "ROUTED",
    "Attempt",
    "Baseline",
    "BreakerState",
    "Chooser",
    "Considered",
    "Entry",
    "Experiment",
    "ExperimentReport",
    "Explanation",
    "Fault",
    "FileContent",
    "Health",
    "Interval",
    "Kind",
    "Measured",
    "Metric",
    "OpenBreaker",
    "OwnAccess",
    "Plan",
    "Policies",
    "Policy",
    "PolicyAdmin",
    "PolicyFileError",
    "RouteContext",
    "Router",
    "Source",
    "SpeedMeter",
    "SpeedShare",
    "SpeedStore",
    "Warmth",
    "Written",
    "asks_for_reasoning",
    "classification_request",
    "classifier_offer",
    "is_scope",
    "markup_of",
    "measured",
    "parse_policies",
    "prompt_tokens",
    "prompt_upper_bound",
    "read",
    "read_classification",
    "shared_judge",
    "view_of",
]
