"""Reads the events of speech in their order; pure, no I/O. What came before a failure stays."""

from dataclasses import dataclass, field
from datetime import datetime

from omni.router.v1 import media_pb2 as pb

from omni_grpc_client.calls import time_of
from omni_grpc_client.media import Speech


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStarted:
    """The first event: a provider has begun to speak.

    Attributes:
        call_id: the server's name of this call; `usage` takes it, also after a failure.
        model: the offer that answers, `provider/model`, never an alias.
        content_type: the audio's media type, such as `audio/mpeg`.
        create_time: when the call was accepted.
    """

    call_id: str
    model: str
    content_type: str
    create_time: datetime | None
    raw: pb.SpeechStarted = field(repr=False, compare=False)


class Listening:
    """The state of a stream of speech: what started it, what has come, and how it ended."""

    def __init__(self) -> None:
        self.started: SpeechStarted | None = None
        self.completion: Speech | None = None
        self._pieces: list[bytes] = []

    def take(self, event: pb.SynthesizeSpeechResponse) -> bytes | None:
        """Takes the next event; a piece of the audio is returned.

        Events of a kind that this client does not know are passed over.
        """
        match event.WhichOneof("event"):
            case "started":
                self.started = _started(event.started)
            case "audio":
                self._pieces.append(event.audio)
                return event.audio
            case "completion":
                content_type = "" if self.started is None else self.started.content_type
                self.completion = Speech.from_proto(event.completion, self.audio(), content_type)
        return None

    def audio(self) -> bytes:
        """What has come so far."""
        return b"".join(self._pieces)


def _started(raw: pb.SpeechStarted) -> SpeechStarted:
    return SpeechStarted(
        call_id=raw.call_id,
        model=raw.model,
        content_type=raw.content_type,
        create_time=time_of(raw, "create_time"),
        raw=raw,
    )
