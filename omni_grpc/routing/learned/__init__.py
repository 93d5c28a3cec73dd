"""What was learned from recorded answers: how well a model does on a prompt, and how sure that is.

Everything here runs locally on the prompt alone; training is in `scripts/train_router.py`.
"""

from omni_grpc.routing.learned.encoder import DIMENSIONS, Encoder, excerpt, shared_encoder
from omni_grpc.routing.learned.features import (
    FORM_COUNT,
    Features,
    question_in,
    read_features,
)
from omni_grpc.routing.learned.heads import Prediction
from omni_grpc.routing.learned.pieces import Read
from omni_grpc.routing.learned.quality import Encoded, Guard, Heads, Quality, shared_quality

__all__ = [
    "DIMENSIONS",
    "FORM_COUNT",
    "Encoded",
    "Encoder",
    "Features",
    "Guard",
    "Heads",
    "Prediction",
    "Quality",
    "Read",
    "excerpt",
    "question_in",
    "read_features",
    "shared_encoder",
    "shared_quality",
]
