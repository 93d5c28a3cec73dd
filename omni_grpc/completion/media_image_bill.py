"""The bill of pictures: each costs its price, or its tokens.

A picture's tokens are bounded by OpenAI's own tables; what one takes beyond them is the operator's
loss, as all that a provider bills above a hold.
"""

import math
from typing import Final

from omni_grpc.catalog import Modality, Mode, Offer
from omni_grpc.catalog.tokens import count_text, upper_bound
from omni_grpc.completion.media_bill import Bill, Brought
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.media import ImageRequest, Images
from omni_grpc.core.money import Price, Unit
from omni_grpc.core.usage import Usage, UsageSource

IMAGE_COUNT_MAX: Final = 10
"""Most pictures of one request: OpenAI's own limit."""

IMAGE_INPUTS_MAX: Final = 16
"""Most pictures that one request changes: OpenAI's own limit."""

IMAGE_INPUT_TOKENS_BOUND: Final = 8_192
"""A picture to be changed, at high fidelity in OpenAI's scheme: 6,240, and 129 for each of 8 tiles
and 65 more."""

IMAGE_TOKENS_BOUND: Final = {"low": 408, "medium": 1_584, "high": 6_240}
"""One generated picture of up to `IMAGE_PIXELS` by its quality, in OpenAI's table."""

IMAGE_TEXT_TOKENS_BOUND: Final = 1_024
"""What a model may think or write beside a picture."""

IMAGE_PIXELS: Final = 1_536 * 1_024

_SIZE_DIGITS_MAX: Final = 10
_PRICED_SIZES: Final = frozenset({None, "1024x1024"})
_PRICED_QUALITIES: Final = frozenset({None, "standard"})
"""What the price of an image is for; larger or better ones cost more, at a price not known here."""


class ImageBill(Bill):
    """Pictures cost each, or their tokens."""

    mode = Mode.IMAGE

    def __init__(self, request: ImageRequest) -> None:
        if not 1 <= request.count <= IMAGE_COUNT_MAX:
            raise FieldInvalid(f"n must be from 1 to {IMAGE_COUNT_MAX}.", field="n")
        if len(request.images) > IMAGE_INPUTS_MAX:
            raise FieldInvalid(f"image: send at most {IMAGE_INPUTS_MAX} images.", field="image")
        if not request.prompt:
            raise FieldInvalid("prompt must not be empty.", field="prompt")
        self._request = request
        self._pixels = _pixels(request.size)
        self.size_bytes = len(request.prompt)

    def lacking(self, offer: Offer) -> str | None:
        """Edits need a model that sees."""
        if self._request.images and Modality.IMAGE not in offer.input_modalities:
            return "images as input"
        return None

    def unpriced(self, price: Price) -> str | None:
        """A price of one image is that of the common size and quality."""
        request = self._request
        if not price.priced(Unit.IMAGE):
            if request.images and not price.priced(Unit.PROMPT_IMAGE):
                return "image input has no price"
            return None if price.priced(Unit.COMPLETION) else "images have no price"
        if request.size not in _PRICED_SIZES or request.quality not in _PRICED_QUALITIES:
            return (
                f"an image of size {request.size or 'default'!r} and quality "
                f"{request.quality or 'default'!r} has no price; 1024x1024 in the default "
                "quality has"
            )
        return None

    def most(self, price: Price) -> Usage:
        """As many images as are asked for, or the tokens that they can take."""
        request = self._request
        if price.priced(Unit.IMAGE):
            return Usage(image=request.count)
        inputs = len(request.images) + (request.mask is not None)
        return Usage(
            prompt=upper_bound(request.prompt) + inputs * IMAGE_INPUT_TOKENS_BOUND,
            completion=request.count * (self._image_tokens() + IMAGE_TEXT_TOKENS_BOUND),
        )

    def told(self, price: Price, usage: Usage) -> Usage | None:
        """The provider's tokens; images that came count themselves."""
        if price.priced(Unit.IMAGE):
            return None
        return usage if usage.prompt is not None and usage.completion is not None else None

    def estimate(self, price: Price, brought: Brought) -> Usage:
        """The images that came, which are exact, or about what tokens they took."""
        came = len(brought.answer.images) if isinstance(brought.answer, Images) else 0
        if price.priced(Unit.IMAGE):
            return Usage(image=came)
        inputs = len(self._request.images) + (self._request.mask is not None)
        seen = inputs * IMAGE_INPUT_TOKENS_BOUND
        painted = came * self._image_tokens()
        return Usage(
            prompt=count_text(self._request.prompt) + seen,
            prompt_image=seen or None,
            completion=painted,
            completion_image=painted,
            source=UsageSource.ESTIMATE,
        )

    def _image_tokens(self) -> int:
        quality = self._request.quality or "high"
        tokens = IMAGE_TOKENS_BOUND.get(quality, IMAGE_TOKENS_BOUND["high"])
        return tokens * max(1, math.ceil(self._pixels / IMAGE_PIXELS))


def _pixels(size: str | None) -> int:
    if size in (None, "auto"):
        return IMAGE_PIXELS
    width, x, height = (size or "").partition("x")
    if not (
        x and width.isascii() and height.isascii() and width.isdecimal() and height.isdecimal()
    ):
        raise FieldInvalid("size must be auto, or like 1024x1024.", field="size")
    if len(width) + len(height) > _SIZE_DIGITS_MAX:
        raise FieldInvalid("size is larger than any model paints.", field="size")
    return int(width) * int(height)
