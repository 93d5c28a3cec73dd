"""Reads a multipart form: its texts by name, and its files; python-multipart cuts it into parts.

Whatever bytes come, this ends in a form or in FieldInvalid. A part with a filename is a file.
"""

from dataclasses import dataclass, field
from typing import Final

import python_multipart
from python_multipart.exceptions import MultipartParseError

from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.media import MediaFile

PART_COUNT_MAX: Final = 128
"""Parts of one form: every field of OpenAI's forms, and their files, are a third of it."""

NAME_CHARS_MAX: Final = 255


@dataclass(slots=True)
class Form:
    """Texts in the order in which they came, and files, by name without a closing `[]`."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, list[MediaFile]] = field(default_factory=dict)


def read_form(body: bytes, content_type: bytes) -> Form:
    """The form in a body.

    Raises:
        FieldInvalid: it is none.
    """
    kind, options = python_multipart.multipart.parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise FieldInvalid(
            "Send a form: content-type must be multipart/form-data with its boundary.",
            field="content-type",
        )
    reader = _Reader()
    try:
        parser = python_multipart.MultipartParser(
            boundary,
            {
                "on_part_begin": reader.begin,
                "on_header_field": reader.header_name,
                "on_header_value": reader.header_value,
                "on_header_end": reader.header_end,
                "on_part_data": reader.data,
                "on_part_end": reader.end,
                "on_end": reader.whole,
            },
        )
        parser.write(body)
        parser.finalize()
    except (MultipartParseError, python_multipart.exceptions.FormParserError) as error:
        raise FieldInvalid(f"The form cannot be read: {str(error)[:NAME_CHARS_MAX]}.") from None
    if not reader.is_whole:
        raise FieldInvalid("The form is cut off before its end.")
    return reader.form


class _Reader:
    """Takes the parts as the parser finds them."""

    def __init__(self) -> None:
        self.form = Form()
        self.is_whole = False
        self._count = 0
        self.begin()
        self._count = 0

    def begin(self) -> None:
        """A part begins."""
        self._count += 1
        if self._count > PART_COUNT_MAX:
            raise FieldInvalid(f"The form has more than {PART_COUNT_MAX} parts.")
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._content: list[bytes] = []

    def header_name(self, data: bytes, start: int, end: int) -> None:
        """Some of a header's name."""
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        """Some of its value."""
        self._value += data[start:end]

    def header_end(self) -> None:
        """The header is whole."""
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def data(self, data: bytes, start: int, end: int) -> None:
        """Some of the part's content."""
        self._content.append(data[start:end])

    def end(self) -> None:
        """The part is whole."""
        _, options = python_multipart.multipart.parse_options_header(
            self._headers.get(b"content-disposition", b"")
        )
        name = _text(options.get(b"name", b""), "A part's name").removesuffix("[]")
        if not 0 < len(name) <= NAME_CHARS_MAX:
            raise FieldInvalid("A part of the form has no name, or one that is too long.")
        content = b"".join(self._content)
        filename = options.get(b"filename")
        if filename is None:
            self.form.texts.setdefault(name, []).append(_text(content, name))
            return
        kind = self._headers.get(b"content-type", b"application/octet-stream")
        file = MediaFile(
            content=content,
            name=_text(filename, name)[:NAME_CHARS_MAX],
            content_type=_text(kind, name)[:NAME_CHARS_MAX],
        )
        self.form.files.setdefault(name, []).append(file)

    def whole(self) -> None:
        """The closing boundary came."""
        self.is_whole = True


def _text(data: bytes, field_name: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise FieldInvalid(
            f"{field_name}: the text is not valid UTF-8.", field=field_name[:NAME_CHARS_MAX]
        ) from None
    if "\0" in text:
        raise FieldInvalid(
            f"{field_name}: a text contains the character NUL, which no model reads.",
            field=field_name[:NAME_CHARS_MAX],
        )
    return text
