"""Amazon Bedrock's Converse, one wire format for the models of many makers."""

from types import MappingProxyType
from typing import Final

from omni_grpc.providers.aws_events import AwsEventParser
from omni_grpc.providers.bedrock.decode import ConverseStreamDecoder, decode_answer
from omni_grpc.providers.bedrock.encode import encode_converse
from omni_grpc.providers.bedrock.makers import left_out_of
from omni_grpc.providers.calls import ProviderCompletion, UpstreamCall
from omni_grpc.providers.dialect import NOTHING, EventParser, StreamDecoder, WireRequest
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.features import Feature, Support
from omni_grpc.providers.spec import ProviderSpec

_PATH: Final = "model/{model}/converse"
_STREAM_PATH: Final = "model/{model}/converse-stream"


class BedrockChat:
    """The dialect `bedrock`.

    What only some makers' models have (`top_k`, reasoning) is refused for the others when the
    request is written, since their names tell.
    """

    support = MappingProxyType(
        dict.fromkeys(Feature, Support.NATIVE)
        | {
            Feature.IMAGE_URL: Support.REFUSED,
            Feature.IMAGE_ID: Support.REFUSED,
            Feature.FILE_ID: Support.REFUSED,
            Feature.FILE_URL: Support.REFUSED,
            Feature.PARALLEL_TOOLS: Support.REFUSED,
            Feature.JSON_OBJECT: Support.REFUSED,
            Feature.REASONING_EFFORT: Support.MAPPED,
            Feature.REASONING_SUMMARY: Support.MAPPED,
            Feature.PENALTIES: Support.REFUSED,
            Feature.LOGIT_BIAS: Support.REFUSED,
            Feature.SEED: Support.REFUSED,
            Feature.LOGPROBS: Support.REFUSED,
            Feature.CHOICES: Support.REFUSED,
            Feature.SAFETY: Support.REFUSED,
            Feature.REFUSALS: Support.MAPPED,
        }
    )
    takes_extra = NOTHING

    def encode(self, call: UpstreamCall, spec: ProviderSpec, *, stream: bool) -> WireRequest:
        """The request; see `Dialect`."""
        default = _STREAM_PATH if stream else _PATH
        path = spec.path(default, call.model, stream=stream)
        return WireRequest(path, encode_converse(call), left_out=left_out_of(call))

    def decode(self, data: bytes, faults: Faults) -> ProviderCompletion:
        """A whole answer; see `Dialect`."""
        return decode_answer(data, faults)

    def parser(self) -> EventParser:
        """AWS's binary event stream."""
        return AwsEventParser()

    def decoder(self, faults: Faults) -> StreamDecoder:
        """Reads one stream."""
        return ConverseStreamDecoder(faults)
