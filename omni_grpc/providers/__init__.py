"""The upstream clients: each provider as data, each wire dialect in a folder of its own.

A call becomes one request to one provider, whole or streamed, in the words of `core.chat`; what
fails is a `ProviderFault`. Nothing here prices, routes, holds or falls back.
"""

from omni_grpc.providers.balancing import Balance, EndpointObserver
from omni_grpc.providers.calls import (
    ChatProvider,
    ProviderAnswer,
    ProviderCompletion,
    ProviderStream,
    UpstreamCall,
)
from omni_grpc.providers.errors import (
    Malformed,
    Misconfigured,
    Overloaded,
    ProviderFault,
    RateLimited,
    Rejected,
    StreamError,
    TimedOut,
    Truncated,
    Unreachable,
)
from omni_grpc.providers.media_call import MediaProvider, SpeechStream
from omni_grpc.providers.media_dialect import MediaAnswer, MediaCall, MediaRefusal, ProviderMedia
from omni_grpc.providers.own_accounts import OwnAccount, OwnAccounts, others
from omni_grpc.providers.own_form import OwnAccountFault, OwnForms
from omni_grpc.providers.registry import Providers, ProviderSettingsError
from omni_grpc.providers.spec import (
    EndpointSettings,
    EndpointSpec,
    OwnModel,
    ProviderSettings,
    ProvidersFileError,
    ProviderSpec,
    SecretText,
    Timeouts,
    load_specs,
)

__all__ = [
    "Balance",
    "ChatProvider",
    "EndpointObserver",
    "EndpointSettings",
    "EndpointSpec",
    "Malformed",
    "MediaAnswer",
    "MediaCall",
    "MediaProvider",
    "MediaRefusal",
    "Misconfigured",
    "Overloaded",
    "OwnAccount",
    "OwnAccountFault",
    "OwnAccounts",
    "OwnForms",
    "OwnModel",
    "ProviderAnswer",
    "ProviderCompletion",
    "ProviderFault",
    "ProviderMedia",
    "ProviderSettings",
    "ProviderSettingsError",
    "ProviderSpec",
    "ProviderStream",
    "Providers",
    "ProvidersFileError",
    "RateLimited",
    "Rejected",
    "SecretText",
    "SpeechStream",
    "StreamError",
    "TimedOut",
    "Timeouts",
    "Truncated",
    "Unreachable",
    "UpstreamCall",
    "load_specs",
    "others",
]
