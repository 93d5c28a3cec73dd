"""A call, a provider and a dispatch that tests of the provider client share."""

from omni_grpc.core.chat import ChatRequest, Message
from omni_grpc.providers import ProviderSpec, Timeouts, UpstreamCall

KEY = "sk-test-0123456789abcdef"


def make_call(
    *,
    model: str = "m-1",
    seconds_left: float = 30.0,
    retries: bool = False,
    output_tokens_max: int = 100,
    **request: object,
) -> UpstreamCall:
    request.setdefault("messages", (Message(role="user", content="Hi"),))
    return UpstreamCall(
        request=ChatRequest(model=f"sim/{model}", **request),
        model=model,
        output_tokens_max=output_tokens_max,
        call_id="0198-call",
        seconds_left=seconds_left,
        retries=retries,
    )


def make_spec(timeouts: Timeouts | None = None, **more: object) -> ProviderSpec:
    more.setdefault("bills_after_cancel", False)
    return ProviderSpec(
        id="p", dialect="openai", key_env="P_KEY", timeouts=timeouts or Timeouts(), **more
    )


class Dispatched:
    """Counts how often a request was told to be on its way."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
