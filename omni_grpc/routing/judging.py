"""Finds what a request is about, and predicts how well each model would do it."""

from typing import Final

import numpy as np

from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.task import Analysis, Task
from omni_grpc.routing.choosing import Look
from omni_grpc.routing.offer_table import Amounts, OfferTable

TYPICAL_OUTPUT_TOKENS: Final = 400


class LocalJudge:
    """Judges by what ships with the package, without asking anybody."""

    def look(self, request: ChatRequest) -> Look:
        """Looks at a request."""
        task = request.preferences.task or Task.CHAT
        return Look(analysis=Analysis(task=task), text="", vector=None)

    def qualities(self, look: Look, table: OfferTable) -> Amounts:
        """How likely each row's model does the request well, 0 to 1."""
        return np.asarray(table.ratings(look.analysis.task) * table.quality_weights)

    def output_tokens(self, _look: Look, table: OfferTable) -> Amounts:
        """How many tokens each row's model will probably answer with."""
        return np.full(len(table), float(TYPICAL_OUTPUT_TOKENS))
