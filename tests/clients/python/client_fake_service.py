"""A small omni-grpc on a real socket for the client's tests: it implements the generated servicers.

Every method has an answer of its own. A test replaces the next ones with `script`, and reads what
arrived in `seen`. It keeps no books.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
from client_fake_routing import CatalogFake, PoliciesFake, RoutesFake, UsageFake, page_of
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from omni.admin.v1 import admin_service_pb2 as admin_pb
from omni.admin.v1 import admin_service_pb2_grpc as admin_grpc
from omni.billing.v1 import billing_service_pb2 as billing_pb
from omni.billing.v1 import billing_service_pb2_grpc as billing_grpc
from omni.catalog.v1 import catalog_service_pb2 as catalog_pb
from omni.catalog.v1 import catalog_service_pb2_grpc as catalog_grpc
from omni.router.v1 import media_pb2
from omni.router.v1 import router_service_pb2 as router_pb
from omni.router.v1 import router_service_pb2_grpc as router_grpc

API_KEY = "omni_0123456789ab_secretsecretsecretsecretsecretsecretsecretsec"
COST_NANOUSD = 1_234_567
LEDGER_ENTRIES = 120

Behaviour = Callable[[Message, grpc.aio.ServicerContext], Awaitable[Message | None]]


@dataclass(frozen=True)
class Seen:
    """One call as it arrived."""

    method: str
    request: Message
    metadata: dict[str, str]
    time_remaining_s: float | None


class FakeService:
    def __init__(self) -> None:
        self.target = ""
        self.stop: Callable[[], Awaitable[None]]
        self.seen: list[Seen] = []
        self.arrived = asyncio.Event()
        self.cancelled = asyncio.Event()
        self._scripts: defaultdict[str, deque[Behaviour]] = defaultdict(deque)

    def script(self, method: str, *behaviours: Behaviour) -> None:
        """The next calls of `method` are answered by these, in order."""
        self._scripts[method].extend(behaviours)

    def requests(self, method: str) -> list[Message]:
        return [one.request for one in self.seen if one.method == method]

    def scripted(
        self, method: str, request: Message, context: grpc.aio.ServicerContext
    ) -> Behaviour | None:
        metadata = dict(tuple(context.invocation_metadata() or ()))
        self.seen.append(Seen(method, request, metadata, context.time_remaining()))
        self.arrived.set()
        scripts = self._scripts[method]
        return scripts.popleft() if scripts else None

    async def unary(
        self,
        request: Message,
        context: grpc.aio.ServicerContext,
        method: str,
        answer: Callable[[Message], Message],
    ) -> Message | None:
        behaviour = self.scripted(method, request, context)
        try:
            if behaviour is not None:
                return await behaviour(request, context)
            return answer(request)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


# --- behaviours that tests script -------------------------------------------------------------
def fails(
    code: grpc.StatusCode,
    reason: str | None = None,
    message: str = "it failed",
    *,
    metadata: dict[str, str] | None = None,
    retry_after_ms: int | None = None,
    fields: dict[str, str] | None = None,
    domain: str = "omni",
) -> Behaviour:
    """Fails, with rich details if there is a reason."""

    async def behave(_: Message, context: grpc.aio.ServicerContext) -> None:
        if reason is None:
            await context.abort(code, message)
        details: list[Message] = [
            error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata)
        ]
        if retry_after_ms is not None:
            info = error_details_pb2.RetryInfo()
            info.retry_delay.FromMilliseconds(retry_after_ms)
            details.append(info)
        if fields is not None:
            bad = error_details_pb2.BadRequest()
            for field, description in fields.items():
                bad.field_violations.add(field=field, description=description)
            details.append(bad)
        status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=message)
        for detail in details:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        await context.abort_with_status(rpc_status.to_status(status))

    return behave


async def hangs(_: Message, __: grpc.aio.ServicerContext) -> None:
    """Never answers."""
    await asyncio.Event().wait()


def streams(*events: Message, then: Behaviour | None = None) -> Behaviour:
    """Writes these events, then ends or behaves otherwise."""

    async def behave(request: Message, context: grpc.aio.ServicerContext) -> None:
        for event in events:
            await context.write(event)
        if then is not None:
            await then(request, context)

    return behave


def answers(message: Message) -> Behaviour:
    async def behave(_: Message, __: grpc.aio.ServicerContext) -> Message:
        return message

    return behave


# --- events -----------------------------------------------------------------------------------
def started(**fields: object) -> router_pb.StreamChatResponse:
    event = router_pb.ChatStarted(
        call_id="call_1", model="openai/gpt-4o-mini", max_output_token_count=4096, **fields
    )
    event.create_time.FromSeconds(1_750_000_000)
    return router_pb.StreamChatResponse(started=event)


def delta(text: str = "", **fields: object) -> router_pb.StreamChatResponse:
    return router_pb.StreamChatResponse(delta=router_pb.ChatDelta(text=text, **fields))


def completed(**fields: object) -> router_pb.StreamChatResponse:
    return router_pb.StreamChatResponse(completion=completion(**fields))


def completion(**fields: object) -> router_pb.ChatCompletion:
    done = router_pb.ChatCompletion(
        call_id="call_1",
        model="openai/gpt-4o-mini",
        usage=router_pb.Usage(
            prompt_token_count=9,
            cached_read_token_count=0,
            completion_token_count=3,
            source=router_pb.USAGE_SOURCE_PROVIDER,
            attempts=[
                router_pb.AttemptUsage(
                    model="openai/gpt-4o-mini",
                    outcome="answered",
                    cost_nanousd=COST_NANOUSD,
                    price_version=7,
                )
            ],
        ),
        cost_nanousd=COST_NANOUSD,
        balance_nanousd=5_000_000_000,
        system_fingerprint="fp_1",
    )
    done.create_time.FromSeconds(1_750_000_000)
    done.MergeFrom(router_pb.ChatCompletion(**fields))
    return done


def media_call(**fields: object) -> media_pb2.MediaCall:
    """How a call that is no chat ended; `fields` are of its usage."""
    done = media_pb2.MediaCall(
        call_id="call_1",
        model="openai/tts-1",
        usage=media_pb2.MediaUsage(**fields),
        cost_nanousd=COST_NANOUSD,
        balance_nanousd=5_000_000_000,
        attempts=[
            media_pb2.MediaAttempt(
                model="openai/tts-1",
                outcome="answered",
                cost_nanousd=COST_NANOUSD,
                price_version=7,
            )
        ],
    )
    done.create_time.FromSeconds(1_750_000_000)
    return done


def speaking() -> media_pb2.SynthesizeSpeechResponse:
    event = media_pb2.SpeechStarted(
        call_id="call_1", model="openai/tts-1", content_type="audio/mpeg"
    )
    event.create_time.FromSeconds(1_750_000_000)
    return media_pb2.SynthesizeSpeechResponse(started=event)


def audio(piece: bytes) -> media_pb2.SynthesizeSpeechResponse:
    return media_pb2.SynthesizeSpeechResponse(audio=piece)


def spoken(characters: int) -> media_pb2.SynthesizeSpeechResponse:
    return media_pb2.SynthesizeSpeechResponse(completion=media_call(character_count=characters))


# --- the services -----------------------------------------------------------------------------
def _choice(prompt: router_pb.ChatPrompt) -> router_pb.Choice:
    message = router_pb.Message(role=router_pb.ROLE_ASSISTANT)
    if prompt.tools and prompt.messages[-1].role != router_pb.ROLE_TOOL:
        message.tool_calls.add(
            id="tool_1", name=prompt.tools[0].name, arguments_json='{"city": "Paris"}'
        )
        return router_pb.Choice(message=message, finish_reason=router_pb.FINISH_REASON_TOOL_CALLS)
    text = "Hello, you!"
    if prompt.tools:
        text = f"It is {prompt.messages[-1].parts[0].text} in Paris."
    if prompt.HasField("response_format"):
        text = '{"city": "Paris", "country": "France"}'
    message.parts.add(text=text)
    return router_pb.Choice(message=message, finish_reason=router_pb.FINISH_REASON_STOP)


class Router(RoutesFake, router_grpc.RouterServiceServicer):
    def __init__(self, fake: FakeService) -> None:
        self.fake = fake

    async def CompleteChat(self, request, context):
        def answer(_: Message) -> Message:
            return router_pb.CompleteChatResponse(
                completion=completion(choices=[_choice(request.prompt)])
            )

        return await self.fake.unary(request, context, "CompleteChat", answer)

    async def StreamChat(self, request, context):
        choice = _choice(request.prompt)
        text = "".join(part.text for part in choice.message.parts)
        answer = streams(
            started(),
            *(delta(word) for word in text.partition(" ")),
            delta(finish_reason=choice.finish_reason),
            completed(),
        )
        await self._stream(request, context, "StreamChat", answer)

    async def SynthesizeSpeech(self, request, context):
        pieces = [audio(word.encode()) for word in request.text.partition(" ") if word]
        answer = streams(speaking(), *pieces, spoken(len(request.text)))
        await self._stream(request, context, "SynthesizeSpeech", answer)

    async def EmbedTexts(self, request, context):
        def answer(_: Message) -> Message:
            vectors = [media_pb2.Embedding(values=[at, 0.5]) for at, _ in enumerate(request.inputs)]
            call = media_call(prompt_token_count=9)
            return media_pb2.EmbedTextsResponse(call=call, embeddings=vectors)

        return await self.fake.unary(request, context, "EmbedTexts", answer)

    async def GenerateImages(self, request, context):
        def answer(_: Message) -> Message:
            image = media_pb2.GeneratedImage(content=b"a picture", revised_prompt="a red cat")
            count = request.image_count or 1
            return media_pb2.GenerateImagesResponse(
                call=media_call(image_count=count), images=[image] * count, size="1024x1024"
            )

        return await self.fake.unary(request, context, "GenerateImages", answer)

    async def TranscribeAudio(self, request, context):
        def answer(_: Message) -> Message:
            return media_pb2.TranscribeAudioResponse(
                call=media_call(second_count=3),
                text="Hello, you!",
                content='{"text": "Hello, you!"}',
                language="english",
                duration_ms=2_500,
            )

        return await self.fake.unary(request, context, "TranscribeAudio", answer)

    async def _stream(self, request, context, method, answer):
        behaviour = self.fake.scripted(method, request, context) or answer
        try:
            await behaviour(request, context)
        except asyncio.CancelledError:
            self.fake.cancelled.set()
            raise


def entry(number: int) -> billing_pb.LedgerEntry:
    return billing_pb.LedgerEntry(
        name=f"accounts/acme/ledgerEntries/{number}",
        kind=billing_pb.LEDGER_ENTRY_KIND_CHARGE,
        amount_nanousd=-number,
        balance_after_nanousd=1_000 - number,
        reference=f"call_{number}",
    )


def unresolved(number: int) -> billing_pb.UnresolvedAttempt:
    found = billing_pb.UnresolvedAttempt(
        name=f"accounts/acme/unresolvedAttempts/{number}",
        call_id=f"call_{number}",
        attempt_number=1,
        model="openrouter/a/b",
        held_nanousd=9_000_000,
        price_version=7,
        markup_ppm=50_000,
        provider_ref=f"gen-{number}",
        worker="host/1",
    )
    found.lease_time.FromSeconds(1_750_000_000)
    return found


def _hold(name: str, state: int, **fields: object) -> billing_pb.Hold:
    return billing_pb.Hold(name=name, state=state, amount_nanousd=5_000, **fields)


class Billing(UsageFake, billing_grpc.BillingServiceServicer):
    def __init__(self, fake: FakeService) -> None:
        self.fake = fake

    async def GetBalance(self, request, context):
        def answer(_: Message) -> Message:
            balance = billing_pb.Balance(
                account=request.account or "accounts/acme",
                posted_nanousd=5_000_000_000,
                held_nanousd=500_000_000,
                unresolved_nanousd=0,
                available_nanousd=4_500_000_000,
            )
            balance.read_time.FromSeconds(1_750_000_000)
            return billing_pb.GetBalanceResponse(balance=balance)

        return await self.fake.unary(request, context, "GetBalance", answer)

    async def ListLedgerEntries(self, request, context):
        def answer(_: Message) -> Message:
            numbers, token = page_of(LEDGER_ENTRIES, request)
            return billing_pb.ListLedgerEntriesResponse(
                ledger_entries=[entry(number) for number in numbers], next_page_token=token
            )

        return await self.fake.unary(request, context, "ListLedgerEntries", answer)

    async def GetUsageRecord(self, request, context):
        def answer(_: Message) -> Message:
            attempt = billing_pb.AttemptRecord(
                attempt_number=1,
                model="openai/gpt-4o-mini",
                outcome="cancelled",
                held_nanousd=9_000_000,
                cost_nanousd=COST_NANOUSD,
                price_version=7,
                markup_ppm=50_000,
                prompt_token_count=9,
                cached_read_token_count=0,
                completion_token_count=2,
                estimated=True,
            )
            attempt.end_time.FromSeconds(1_750_000_001)
            return billing_pb.GetUsageRecordResponse(
                usage_record=billing_pb.UsageRecord(
                    call_id=request.call_id,
                    account="accounts/acme",
                    cost_nanousd=COST_NANOUSD,
                    attempts=[attempt],
                )
            )

        return await self.fake.unary(request, context, "GetUsageRecord", answer)

    async def GrantCredits(self, request, context):
        def answer(_: Message) -> Message:
            written = billing_pb.LedgerEntry(
                name=f"{request.account}/ledgerEntries/1",
                kind=billing_pb.LEDGER_ENTRY_KIND_GRANT,
                amount_nanousd=request.amount_nanousd,
                balance_after_nanousd=request.amount_nanousd,
                reference=request.reason,
            )
            return billing_pb.GrantCreditsResponse(ledger_entry=written)

        return await self.fake.unary(request, context, "GrantCredits", answer)

    async def RefundCharge(self, request, context):
        def answer(_: Message) -> Message:
            written = billing_pb.LedgerEntry(
                name=f"{request.account}/ledgerEntries/2",
                kind=billing_pb.LEDGER_ENTRY_KIND_REFUND,
                amount_nanousd=request.amount_nanousd,
                balance_after_nanousd=request.amount_nanousd,
                reference=request.reason,
            )
            return billing_pb.RefundChargeResponse(ledger_entry=written)

        return await self.fake.unary(request, context, "RefundCharge", answer)

    async def ListUnresolvedAttempts(self, request, context):
        def answer(_: Message) -> Message:
            numbers, token = page_of(3, request)
            return billing_pb.ListUnresolvedAttemptsResponse(
                unresolved_attempts=[unresolved(number) for number in numbers],
                next_page_token=token,
            )

        return await self.fake.unary(request, context, "ListUnresolvedAttempts", answer)

    async def ResolveAttempt(self, request, context):
        def answer(_: Message) -> Message:
            kind = request.WhichOneof("resolution")
            outcome = {"settlement": "cancelled", "voiding": "failed", "write_off": "unknown"}
            return billing_pb.ResolveAttemptResponse(
                attempt_record=billing_pb.AttemptRecord(
                    attempt_number=1,
                    model="openai/gpt-4o-mini",
                    outcome=outcome[kind],
                    held_nanousd=9_000_000,
                    cost_nanousd=COST_NANOUSD if kind == "settlement" else 0,
                    prompt_token_count=request.settlement.prompt_token_count,
                )
            )

        return await self.fake.unary(request, context, "ResolveAttempt", answer)

    async def CreateHold(self, request, context):
        def answer(_: Message) -> Message:
            hold = _hold("accounts/acme/holds/1", billing_pb.HOLD_STATE_OPEN)
            hold.amount_nanousd = request.amount_nanousd
            hold.expire_time.FromSeconds(1_750_000_900)
            return billing_pb.CreateHoldResponse(hold=hold)

        return await self.fake.unary(request, context, "CreateHold", answer)

    async def SettleHold(self, request, context):
        def answer(_: Message) -> Message:
            settled = request.amount_nanousd
            hold = _hold(request.name, billing_pb.HOLD_STATE_SETTLED, settled_nanousd=settled)
            return billing_pb.SettleHoldResponse(hold=hold)

        return await self.fake.unary(request, context, "SettleHold", answer)

    async def ReleaseHold(self, request, context):
        def answer(_: Message) -> Message:
            hold = _hold(request.name, billing_pb.HOLD_STATE_VOIDED)
            return billing_pb.ReleaseHoldResponse(hold=hold)

        return await self.fake.unary(request, context, "ReleaseHold", answer)


def model(name: str = "providers/openai/models/gpt-4o-mini") -> catalog_pb.Model:
    return catalog_pb.Model(
        name=name,
        model=name.removeprefix("providers/").replace("/models/", "/"),
        display_name="A model",
        pricing=catalog_pb.Pricing(
            version=7,
            rates=[
                catalog_pb.Rate(unit="prompt", nanousd_per_mtok=150_000_000),
                catalog_pb.Rate(
                    unit="prompt", min_prompt_token_count=200_000, nanousd_per_mtok=300_000_000
                ),
            ],
        ),
        context_token_count=128_000,
        input_modalities=["text", "image"],
        output_modalities=["text"],
        tools=True,
        callable=True,
    )


class Catalog(CatalogFake, catalog_grpc.CatalogServiceServicer):
    def __init__(self, fake: FakeService) -> None:
        self.fake = fake

    async def GetModel(self, request, context):
        def answer(_: Message) -> Message:
            return catalog_pb.GetModelResponse(model=model(request.name))

        return await self.fake.unary(request, context, "GetModel", answer)

    async def ListModels(self, request, context):
        def answer(_: Message) -> Message:
            numbers, token = page_of(3, request)
            models = [model(f"providers/openai/models/gpt-{number}") for number in numbers]
            return catalog_pb.ListModelsResponse(models=models, next_page_token=token)

        return await self.fake.unary(request, context, "ListModels", answer)


def api_key(name: str = "orgs/acme/apiKeys/0123456789ab", *, revoked: bool = False):
    key = admin_pb.ApiKey(name=name, display_name="ci", scopes=["inference", "billing"])
    key.create_time.FromSeconds(1_750_000_000)
    if revoked:
        key.revoke_time.FromSeconds(1_750_000_009)
    return key


class Admin(PoliciesFake, admin_grpc.AdminServiceServicer):
    def __init__(self, fake: FakeService) -> None:
        self.fake = fake

    async def CreateOrg(self, request, context):
        def answer(_: Message) -> Message:
            org = admin_pb.Org(
                name=f"orgs/{request.org_id}",
                display_name=request.display_name or request.org_id,
                account=f"accounts/{request.org_id}",
            )
            return admin_pb.CreateOrgResponse(org=org)

        return await self.fake.unary(request, context, "CreateOrg", answer)

    async def CreateApiKey(self, request, context):
        def answer(_: Message) -> Message:
            return admin_pb.CreateApiKeyResponse(api_key=api_key(), secret="omni_the_new_secret")

        return await self.fake.unary(request, context, "CreateApiKey", answer)

    async def ListApiKeys(self, request, context):
        def answer(_: Message) -> Message:
            numbers, token = page_of(3, request)
            keys = [api_key(f"{request.parent}/apiKeys/{number}") for number in numbers]
            return admin_pb.ListApiKeysResponse(api_keys=keys, next_page_token=token)

        return await self.fake.unary(request, context, "ListApiKeys", answer)

    async def RevokeApiKey(self, request, context):
        def answer(_: Message) -> Message:
            return admin_pb.RevokeApiKeyResponse(api_key=api_key(request.name, revoked=True))

        return await self.fake.unary(request, context, "RevokeApiKey", answer)


def _answer_all_else(service: type, requests: Message) -> None:
    """Every RPC that has no answer of its own is answered with an empty response."""
    for method in requests.DESCRIPTOR.services_by_name[service.__name__ + "Service"].methods:
        if method.name in vars(service) or any(
            method.name in vars(base) for base in service.__mro__[:-2]
        ):
            continue

        async def behave(self, request, context, method=method):
            answer = GetMessageClass(method.output_type)
            return await self.fake.unary(request, context, method.name, lambda _: answer())

        setattr(service, method.name, behave)


_answer_all_else(Admin, admin_pb)
_answer_all_else(Billing, billing_pb)


@asynccontextmanager
async def fake_service(
    address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[FakeService]:
    """A running service; `target` is where it listens."""
    fake = FakeService()
    # so_reuseport 0: two servers on one port would hide each other (grpc's default allows it).
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    router_grpc.add_RouterServiceServicer_to_server(Router(fake), server)
    billing_grpc.add_BillingServiceServicer_to_server(Billing(fake), server)
    catalog_grpc.add_CatalogServiceServicer_to_server(Catalog(fake), server)
    admin_grpc.add_AdminServiceServicer_to_server(Admin(fake), server)
    if credentials is None:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, credentials)
    fake.target = f"127.0.0.1:{port}" if address.endswith(":0") else address
    fake.stop = lambda: server.stop(None)
    await server.start()
    try:
        yield fake
    finally:
        await fake.stop()
