"""What was learned from recorded answers: how well a model does on a prompt, and how sure that is.

Everything here runs locally on the prompt alone; training is in `scripts/train_router.py`.
"""

from omni_grpc.routing.learned.encoder import DIMENSIONS, Encoder, excerpt, shared_encoder

__all__ = ["DIMENSIONS", "Encoder", "excerpt", "shared_encoder"]
