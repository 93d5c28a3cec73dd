import logging
import pickle
import traceback

import omni_grpc_client
import pytest
from client_fake_service import API_KEY, Seen, fails
from google.protobuf.message import Message
from grpc import StatusCode
from omni_grpc_client import (
    Aborted,
    ApiKeyInvalid,
    Busy,
    CreditsExhausted,
    CreditsHeld,
    FailedPrecondition,
    FieldInvalid,
    FieldViolation,
    Internal,
    Interrupted,
    InvalidArgument,
    ModelNotFound,
    NotFound,
    OmniError,
    PermissionDenied,
    RateLimited,
    ResourceExhausted,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    errors,
)

from omni_grpc.core import errors as service_errors

MODEL = "openai/gpt-4o-mini"


def tree(root: type) -> set[type]:
    return {root}.union(*(tree(child) for child in root.__subclasses__()))


def test_every_reason_of_the_service_has_its_class():
    """Reasons that the service gains make this fail until the client has them."""
    known = {
        cls.reason: cls
        for cls in tree(service_errors.OmniError)
        if hasattr(cls, "reason") and cls.__module__ == service_errors.__name__  # REST adds its own
    }
    for reason, cls in known.items():
        ours = errors.CLASS_OF_REASON[reason]
        assert ours.__name__ == cls.__name__
        by_code = errors.CLASS_OF_CODE[StatusCode[cls.grpc_code]]
        assert issubclass(ours, by_code), f"{reason} is not caught by the class of its code"


def test_every_error_is_drawn_and_exported():
    drawn = errors.__doc__
    for cls in tree(OmniError):
        if not cls.__name__.startswith("_"):
            assert cls.__name__ in drawn
            assert getattr(omni_grpc_client, cls.__name__) is cls


async def test_too_few_credits_tell_what_is_needed_and_what_is_there(omni, service):
    amounts = {
        "needed_nanousd": "900",
        "posted_nanousd": "800",
        "held_nanousd": "100",
        "available_nanousd": "700",
        "call_id": "call_7",
    }
    service.script(
        "CompleteChat",
        fails(StatusCode.FAILED_PRECONDITION, "CREDITS_EXHAUSTED", "900 needed", metadata=amounts),
    )
    with pytest.raises(CreditsExhausted, match="900 needed") as caught:
        await omni.chat(MODEL, "hi")
    error = caught.value
    assert isinstance(error, FailedPrecondition)
    assert error.code is StatusCode.FAILED_PRECONDITION
    assert (error.needed_nanousd, error.posted_nanousd) == (900, 800)
    assert (error.held_nanousd, error.available_nanousd) == (100, 700)
    assert (error.call_id, error.charged_nanousd) == ("call_7", 0)
    assert error.retry_after_s is None


async def test_held_credits_tell_when_to_try_again(omni, service):
    service.script(
        "CompleteChat",
        fails(StatusCode.RESOURCE_EXHAUSTED, "CREDITS_HELD", retry_after_ms=1_250),
    )
    with pytest.raises(CreditsHeld) as caught:
        await omni.chat(MODEL, "hi")
    assert caught.value.retry_after_s == 1.25
    assert caught.value.needed_nanousd is None


async def test_a_rate_limit_tells_when_to_try_again(omni, service):
    service.script(
        "CompleteChat", fails(StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", retry_after_ms=30_000)
    )
    with pytest.raises(RateLimited) as caught:
        await omni.chat(MODEL, "hi")
    assert caught.value.retry_after_s == 30.0


async def test_a_wrong_field_is_named(omni, service):
    fields = {"prompt.sampling.top_p": "above 1", "prompt.model": "empty"}
    service.script(
        "CompleteChat", fails(StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", fields=fields)
    )
    with pytest.raises(FieldInvalid) as caught:
        await omni.chat(MODEL, "hi")
    assert caught.value.field == "prompt.sampling.top_p"
    assert caught.value.violations[1] == FieldViolation("prompt.model", "empty")


async def test_an_interrupted_call_tells_what_it_cost(omni, service):
    metadata = {"charged_nanousd": "4200", "call_id": "call_9"}
    service.script(
        "CompleteChat", fails(StatusCode.ABORTED, "INTERRUPTED", "cut", metadata=metadata)
    )
    with pytest.raises(Interrupted) as caught:
        await omni.chat(MODEL, "hi")
    assert isinstance(caught.value, Aborted)
    assert (caught.value.charged_nanousd, caught.value.call_id) == (4200, "call_9")


@pytest.mark.parametrize(
    ("code", "reason", "cls", "parent"),
    [
        (StatusCode.UNAUTHENTICATED, "API_KEY_INVALID", ApiKeyInvalid, Unauthenticated),
        (StatusCode.NOT_FOUND, "MODEL_NOT_FOUND", ModelNotFound, NotFound),
        (StatusCode.UNAVAILABLE, "BUSY", Busy, Unavailable),
    ],
)
async def test_a_reason_is_its_class(omni, service, code, reason, cls, parent):
    service.script("CreateOrg", fails(code, reason))
    with pytest.raises(cls) as caught:
        await omni.create_org("acme")
    assert caught.value.reason == reason
    assert isinstance(caught.value, parent)


async def test_a_reason_that_this_client_does_not_know_is_the_class_of_its_code(omni, service):
    service.script("CompleteChat", fails(StatusCode.FAILED_PRECONDITION, "MOON_TOO_LOW"))
    with pytest.raises(FailedPrecondition) as caught:
        await omni.chat(MODEL, "hi")
    assert type(caught.value) is FailedPrecondition
    assert caught.value.reason == "MOON_TOO_LOW"
    assert caught.value.charged_nanousd == 0


async def test_a_reason_of_another_domain_is_not_ours(omni, service):
    service.script("CreateOrg", fails(StatusCode.UNAVAILABLE, "BUSY", domain="proxy.example"))
    with pytest.raises(Unavailable) as caught:
        await omni.create_org("acme")
    assert type(caught.value) is Unavailable
    assert caught.value.reason is None
    assert caught.value.charged_nanousd is None


@pytest.mark.parametrize(
    ("code", "cls"),
    [
        (StatusCode.CANCELLED, Unavailable),
        (StatusCode.UNKNOWN, Internal),
        (StatusCode.INVALID_ARGUMENT, InvalidArgument),
        (StatusCode.PERMISSION_DENIED, PermissionDenied),
        (StatusCode.RESOURCE_EXHAUSTED, ResourceExhausted),
        (StatusCode.UNIMPLEMENTED, Unimplemented),
        (StatusCode.UNAVAILABLE, Unavailable),
        (StatusCode.NOT_FOUND, NotFound),
    ],
)
async def test_a_failure_without_details_is_the_class_of_its_code(omni, service, code, cls):
    service.script("CreateOrg", fails(code, message="plain"))
    with pytest.raises(cls, match="plain") as caught:
        await omni.create_org("acme")
    assert type(caught.value) is cls
    assert caught.value.reason is None
    assert caught.value.code is code


def test_every_status_code_has_a_class():
    assert set(errors.CLASS_OF_CODE) == set(StatusCode) - {StatusCode.OK}


async def test_a_failure_without_a_message_has_one(omni, service):
    service.script("CompleteChat", fails(StatusCode.INTERNAL, message=""))
    with pytest.raises(Internal, match="INTERNAL"):
        await omni.chat(MODEL, "hi")


async def test_a_request_above_grpcs_own_limit_is_too_large(omni, service):
    with pytest.raises(TooLarge):
        await omni.chat(MODEL, "x" * (5 * 1024 * 1024))  # above gRPC's default of a server
    assert service.seen == []


@pytest.mark.parametrize("details", [b"\xff\xff\xff", b"\x08\x07\x12\x05other"])
async def test_details_that_cannot_be_read_leave_the_code(omni, service, details):
    async def behave(_: Message, context) -> None:
        metadata = (("grpc-status-details-bin", details),)
        await context.abort(StatusCode.UNAVAILABLE, "plain", trailing_metadata=metadata)

    service.script("CreateOrg", behave)
    with pytest.raises(Unavailable, match="plain"):
        await omni.create_org("acme")


async def test_an_amount_that_is_no_number_is_not_known(omni, service):
    metadata = {"needed_nanousd": "a lot", "charged_nanousd": "?"}
    service.script(
        "CompleteChat",
        fails(StatusCode.FAILED_PRECONDITION, "CREDITS_EXHAUSTED", metadata=metadata),
    )
    with pytest.raises(CreditsExhausted) as caught:
        await omni.chat(MODEL, "hi")
    assert caught.value.needed_nanousd is None
    assert caught.value.charged_nanousd is None


async def test_the_key_is_in_no_error_and_no_log(omni, service, caplog):
    caplog.set_level(logging.DEBUG)
    service.script("CompleteChat", fails(StatusCode.UNAUTHENTICATED, "API_KEY_INVALID"))
    with pytest.raises(ApiKeyInvalid) as caught:
        await omni.chat(MODEL, "hi")
    sent: Seen = service.seen[0]
    assert sent.metadata["authorization"] == f"Bearer {API_KEY}"
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = "".join(trace.format()) + caplog.text + repr(caught.value) + str(vars(caught.value))
    assert API_KEY not in shown.replace(repr(sent), "")
    assert "secretsecret" not in shown.replace(repr(sent), "")


def test_an_error_can_be_pickled():
    error = CreditsExhausted("no", metadata={"needed_nanousd": "7"}, retry_after_s=1.0)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is CreditsExhausted
    assert vars(copy) == vars(error)
    assert copy.needed_nanousd == 7
