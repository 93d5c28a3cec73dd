"""What a request is about and how hard it is, found on this machine from the request alone."""

from omni_grpc.routing.analysis.analyst import Analyst, complexity_of
from omni_grpc.routing.analysis.view import PromptView, view_of

__all__ = ["Analyst", "PromptView", "complexity_of", "view_of"]
