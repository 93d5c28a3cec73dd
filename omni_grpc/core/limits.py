"""Every bound of the service, named, with its reason.

A bound that stands here is the same for every transport. Nothing outside this file invents a
size, a count or a time of its own, except where a room's own file says why.
"""

from typing import Final

# --- what a caller may send -------------------------------------------------------------------
REQUEST_BYTES_MAX: Final = 10 * 1024 * 1024
"""Largest request body, both transports: a prompt with a few inlined images fits."""

METADATA_BYTES_MAX: Final = 16 * 1024
"""Largest sum of headers or gRPC metadata: keys and trace context fit, abuse does not."""

MESSAGE_COUNT_MAX: Final = 2_048
"""Most messages in one prompt; a year-long conversation would be cut by its context first."""

PART_COUNT_MAX: Final = 512
"""Most parts in one message."""

TOOL_COUNT_MAX: Final = 512
"""Most tools in one prompt: agents with many servers of tools have hundreds. OpenAI's own limit
is 128, which it says itself."""

CHOICE_COUNT_MAX: Final = 8
"""Most choices (`n`) in one answer: each multiplies the worst case that is held."""

STOP_COUNT_MAX: Final = 16
"""Most stop sequences; a provider with fewer says so itself."""

MODEL_ID_CHARS_MAX: Final = 256

PREFERENCE_COUNT_MAX: Final = 64
"""Most providers or models in one list of routing preferences."""

FALLBACK_COUNT_MAX: Final = 2
"""Most fallbacks that a request names: a plan has three attempts."""

TAG_COUNT_MAX: Final = 16
TAG_NAME_CHARS_MAX: Final = 64
TAG_VALUE_CHARS_MAX: Final = 256
"""Tags attribute calls in reports; they are stored with each."""

END_USER_CHARS_MAX: Final = 256
REQUEST_ID_CHARS_MAX: Final = 255
DISPLAY_NAME_CHARS_MAX: Final = 128
REASON_CHARS_MAX: Final = 256

AMOUNT_NANOUSD_MAX: Final = 10**15
"""Most that one billing operation may move: a million dollars, so that sums stay far from 2^63."""

# --- what an organisation may have ------------------------------------------------------------
TEAMS_MAX: Final = 1_000
"""Teams of an organisation: larger companies have fewer that run software of their own. Like the
others here it is far above what is sane, and keeps a program in a loop from filling the tables."""

ENVIRONMENTS_MAX: Final = 100
"""Environments of a team: `live`, `test`, and one for each branch under way."""

USERS_MAX: Final = 100_000
"""Users of an organisation, those aside who were taken out: also one that lets in everybody who has
a wallet counts them in some 20 ms, and only when one is new."""

KEYS_MAX: Final = 10_000
"""API keys of an organisation that are valid: one for each customer of a large one."""

# --- pages ------------------------------------------------------------------------------------
PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 1_000

# --- time -------------------------------------------------------------------------------------
CALL_SECONDS_MAX: Final = 600.0
"""A call without a deadline gets this one; a longer deadline is lowered to it."""

LEDGER_WAIT_SECONDS_MAX: Final = 2.0
"""How long a new call waits for its hold before it is refused with LEDGER_UNAVAILABLE."""

SETTLE_WAIT_SECONDS_MAX: Final = 10.0
"""How long an answer waits for its settle; then it ends with the settle still queued."""

KEY_CACHE_SECONDS_MAX: Final = 5.0
"""How long a revoked key may still be believed by another worker."""

CATALOG_POLL_SECONDS: Final = 4.0
"""How often a worker looks for a changed catalog, so that a change is everywhere within 5 s."""

CATALOG_PRICE_CHANGE_MAX_PPM: Final = 500_000
"""How far a price may move in a sync without an operator's word, in millionths: by half, which real
price cuts rarely exceed and a mistaken unit always does."""

PROBE_SECONDS: Final = 5.0
"""How often a worker asks a provider that is away whether it is back, unless the operator sets
another time: as long as a breaker stays open at first, so that the first probe comes before it."""

STREAM_PING_SECONDS: Final = 15.0
"""An SSE comment goes out after this much silence, so that proxies keep the stream open."""

DRAIN_SECONDS_MAX: Final = 30.0
"""How long a stopping server lets running calls finish before it cancels them."""

# --- work at once -----------------------------------------------------------------------------
CALLS_AT_ONCE_MAX: Final = 4_096
"""Calls in one worker; beyond it new ones are refused with BUSY instead of slowing all."""

PROVIDER_CONNECTIONS_MAX: Final = 4_096
"""Open connections of one worker to one provider: as many as calls, since each call needs one."""

LANE_QUEUE_MAX: Final = 8_192
"""Ledger operations waiting in one lane; beyond it new holds are refused, finals never."""

LANE_BATCH_MAX: Final = 256
"""Operations in one ledger transaction; larger batches were not faster [measured]."""

# --- money ------------------------------------------------------------------------------------
OUTPUT_TOKENS_DEFAULT: Final = 4_096
"""Output limit, held and sent upstream, where the caller gives none (or the model's, if lower)."""

HOLD_LEASE_SECONDS: Final = 60.0
"""A router's hold becomes UNRESOLVED when its worker has not renewed it for this long, unless the
operator sets another time."""

HOLD_RENEW_SHARE: Final = 1 / 3
"""How often a worker renews the leases of its running calls: three tries within one lease."""

HOLD_FENCE_SHARE: Final = 5 / 6
"""A worker that could not renew for this part of a lease cancels its provider call: well before the
lease ends by the database's clock, so that nobody else decides about a call that still runs."""

API_HOLD_SECONDS_DEFAULT: Final = 900
API_HOLD_SECONDS_MAX: Final = 24 * 3_600
"""Holds that a team makes through BillingService free themselves after their own time to live."""

UNRESOLVED_HOURS: Final = 24.0
"""After this long an unresolved attempt is written off, unless the operator sets another time."""

REQUEST_HOURS: Final = 24
"""How long a paid call's request id, and its answer, are kept."""

ANSWER_BYTES_MAX: Final = 1024 * 1024
"""Largest answer that is kept for a repeat; of a larger one only its cost is."""
