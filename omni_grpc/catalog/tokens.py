"""How many tokens a text is, counted offline and the same way by everyone who asks.

The meter estimates with these functions and the simulator reports with them, so an estimate of a
simulated call is exact. They are pure: a tokenizer is loaded at its first use and kept. Counts
are those of OpenAI's `o200k_base` (and `cl100k_base` for the models that use it); for other
families they are estimates, and whoever stores one says so.

Measured (2 cores, Python 3.11): `o200k_base` loads in 40 ms and takes 34 MB of private memory
beside 33 MB of mapped file, `cl100k_base` another 16 ms and 16 MB. 750 characters take 10 µs,
a megabyte 7 to 30 ms.
"""

import functools
import importlib
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol, cast

__all__ = (
    "AUDIO_TOKENS",
    "DEFAULT_MODEL",
    "FILE_TOKENS",
    "IMAGE_TOKENS",
    "IMAGE_TOKENS_LOW",
    "REPLY_PRIMING",
    "TOOLS_OVERHEAD",
    "TOOL_OVERHEAD",
    "count_answer",
    "count_message",
    "count_text",
    "count_tool",
    "exceeds",
    "image_tokens",
    "token_texts",
    "upper_bound",
)

DEFAULT_MODEL: Final = "gpt-4o"
"""Whose tokenizer counts where no model is named: `o200k_base`."""

MESSAGE_OVERHEAD: Final = 3
NAME_OVERHEAD: Final = 1
REPLY_PRIMING: Final = 3
"""What every prompt has besides its messages: the answer is primed with an assistant's header.

These three are OpenAI's cookbook, "How to count tokens with tiktoken", section 6.
"""

TOOL_OVERHEAD: Final = 7
TOOLS_OVERHEAD: Final = 12
"""Around each tool, and once if there is any: the same page, section 7 (`func_init`, `func_end`).

The cookbook then counts each property apart; here the schema counts as the text it is, which is
a little more than what providers report and never depends on how a schema is nested.
"""

IMAGE_TOKENS: Final = 765
"""One image in high or auto detail: 85 + 170 for each of the four 512-pixel tiles of a square of
1024 pixels (OpenAI's vision guide, gpt-4o). The image is not opened, so its true size is unknown.
"""

IMAGE_TOKENS_LOW: Final = 85
"""One image in low detail, whatever its size (the same guide)."""

AUDIO_TOKENS: Final = 300
"""One audio part: half a minute at ten tokens a second, gpt-4o-audio's rate. Not decoded."""

FILE_TOKENS: Final = 1_500
"""One file: about a page as text and as an image. Not opened."""

SLICE_CHARS: Final = 64 * 1024
"""Counted in one go: 1 to 2 ms, which an event loop may be held."""

SLICE_SEARCH_CHARS: Final = 1_024
"""How far back from a slice's end a place is sought where a cut changes no token."""

_LETTERS_AROUND_SPACE = re.compile(r"[A-Za-z] [A-Za-z]")
_CL100K_MODELS = re.compile(r"gpt-4(-|$)|gpt-3\.?5|text-embedding-")


class _Tokenizer(Protocol):
    """The part of the Rust binding that is used."""

    def encode(self, text: str) -> list[int]: ...
    def decode(self, tokens: list[int]) -> str: ...
    def count(self, text: str) -> int: ...
    def count_till_limit(self, text: str, token_limit: int) -> int | None: ...


class _Bindings(Protocol):
    def tokenizer_for_encoding(self, encoding_name: str) -> _Tokenizer: ...


def count_text(text: str, model: str = DEFAULT_MODEL) -> int:
    """Tokens of `text`, special tokens read as plain text.

    A text above 64 Ki characters is counted in slices, cut where no token spans the cut; a text
    without such a place (base64, Chinese) may count a token or two more at each cut.
    """
    tokenizer = _tokenizer(model)
    if len(text) <= SLICE_CHARS:
        return _count(tokenizer, text)
    return sum(_count(tokenizer, part) for part in _slices(text))


def exceeds(text: str, limit: int, model: str = DEFAULT_MODEL) -> bool:
    """Whether `text` has more than `limit` tokens; stops counting at the slice that says so."""
    if upper_bound(text) <= limit:
        return False
    tokenizer = _tokenizer(model)
    left = limit
    for part in _slices(text):
        count = tokenizer.count_till_limit(_encodable(part), left)
        if count is None:
            return True
        left -= count
    return False


def upper_bound(text: str) -> int:
    """A number of tokens that no byte-level tokenizer can exceed for `text`: its UTF-8 bytes.

    Every token of such a vocabulary stands for at least one byte, so there are at most as many
    tokens as bytes. It needs no tokenizer, and holds for families that are not known here.
    """
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def count_message(
    role: str, texts: Iterable[str], name: str | None = None, model: str = DEFAULT_MODEL
) -> int:
    """Tokens of one message of a prompt, by the cookbook's formula.

    `texts` are, each counted by itself: every text part (or the content, if it is a string), every
    refusal, the reasoning carried back, and of every tool call its name and its arguments. A tool
    call's id is not counted. Media count apart (`image_tokens`, `AUDIO_TOKENS`, `FILE_TOKENS`).
    A prompt is the sum of its messages, its media, its tools (`count_tool`, and `TOOLS_OVERHEAD`
    once), the JSON Schema of its response format as a text, and `REPLY_PRIMING`.
    """
    count = MESSAGE_OVERHEAD + count_text(role, model)
    count += sum(count_text(text, model) for text in texts)
    if name:
        count += NAME_OVERHEAD + count_text(name, model)
    return count


def count_tool(
    name: str,
    description: str | None,
    parameters_json: str | None,
    model: str = DEFAULT_MODEL,
) -> int:
    """Tokens of one tool's definition; `parameters_json` is its schema exactly as written."""
    texts = (name, description or "", parameters_json or "")
    return TOOL_OVERHEAD + sum(count_text(text, model) for text in texts)


def count_answer(texts: Iterable[str], model: str = DEFAULT_MODEL) -> int:
    """Tokens of an answer, or of what came of it before it broke off.

    `texts` are, of every choice and each counted by itself: the content, the refusal, the
    reasoning, and of every tool call its name and its arguments.
    """
    return sum(count_text(text, model) for text in texts)


def image_tokens(detail: str | None) -> int:
    """The fixed number that stands for one image of this `detail` (low, high, auto or none)."""
    return IMAGE_TOKENS_LOW if detail == "low" else IMAGE_TOKENS


def token_texts(text: str, model: str = DEFAULT_MODEL) -> list[str]:
    """`text` cut at its token boundaries; tokens that split a character stay joined."""
    tokenizer = _tokenizer(model)
    texts: list[str] = []
    waiting: list[int] = []
    for token in tokenizer.encode(_encodable(text)):
        waiting.append(token)
        try:
            texts.append(tokenizer.decode(waiting))
        except ValueError:  # part of a character: it needs the next token
            continue
        waiting.clear()
    return texts


@functools.lru_cache(maxsize=1_024)
def _tokenizer(model: str) -> _Tokenizer:
    bare = model.rpartition("/")[2].lower()
    encoding = "cl100k_base" if _CL100K_MODELS.match(bare) else "o200k_base"
    return _bindings().tokenizer_for_encoding(encoding)


@functools.cache
def _bindings() -> _Bindings:
    """The Rust module alone: its package's `__init__` costs 66 MB and 0.4 s for nothing used."""
    name = "bpe_openai._bindings"
    package = importlib.util.find_spec("bpe_openai")
    folders = (package and package.submodule_search_locations) or ()
    for path in (path for folder in folders for path in Path(folder).glob("_bindings*.so")):
        if name in sys.modules:
            break
        loader = importlib.machinery.ExtensionFileLoader(name, str(path))
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        if spec is not None:
            module = importlib.util.module_from_spec(spec)
            loader.exec_module(module)
            sys.modules[name] = module  # a Rust module cannot be loaded twice
    return cast("_Bindings", importlib.import_module(name))


def _count(tokenizer: _Tokenizer, text: str) -> int:
    try:
        return tokenizer.count(text)
    except UnicodeEncodeError:
        return tokenizer.count(_encodable(text))


def _encodable(text: str) -> str:
    """`text` with lone surrogates, which no wire can carry, as question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _slices(text: str) -> Iterator[str]:
    """Pieces of at most `SLICE_CHARS`, cut before a space between two ASCII letters if possible.

    Neither vocabulary has a token that spans such a place, and neither looks past it.
    """
    start = 0
    while len(text) - start > SLICE_CHARS:
        hard = start + SLICE_CHARS
        cut = text.rfind(" ", hard - SLICE_SEARCH_CHARS, hard)
        while cut > 0 and not _between_letters(text, cut):
            cut = text.rfind(" ", hard - SLICE_SEARCH_CHARS, cut)
        cut = cut if cut > 0 else hard
        yield text[start:cut]
        start = cut
    yield text[start:]


def _between_letters(text: str, index: int) -> bool:
    return index > 0 and _LETTERS_AROUND_SPACE.match(text, index - 1) is not None
