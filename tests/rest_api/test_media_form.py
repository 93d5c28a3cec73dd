"""Forms as they come in: what httpx writes is read, and whatever bytes come end in a refusal."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.media import MediaFile
from omni_grpc.rest_api.openai.form_body import Form, read_form
from omni_grpc.rest_api.openai.media_wire import read_image_edit, read_transcription

KIND = b"multipart/form-data; boundary=x"


def written(fields: dict[str, object], files: list[tuple[str, tuple[str, bytes, str]]]) -> Form:
    request = httpx.Request("POST", "http://x", data=fields, files=files)
    return read_form(request.read(), request.headers["content-type"].encode())


def test_texts_and_files_are_read_as_they_were_written() -> None:
    form = written(
        {"prompt": "Grüße\r\n--x", "timestamp_granularities[]": ["word", "segment"]},
        [("image[]", ("ä.png", b"\x00\r\n--", "image/png")), ("image[]", ("b", b"", "a/b"))],
    )
    assert form.texts == {
        "prompt": ["Grüße\r\n--x"],
        "timestamp_granularities": ["word", "segment"],
    }
    assert form.files == {
        "image": [
            MediaFile(content=b"\x00\r\n--", name="ä.png", content_type="image/png"),
            MediaFile(content=b"", name="b", content_type="a/b"),
        ]
    }


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", b""),
        (b"{}", b"application/json"),
        (b"", b"multipart/form-data"),
        (b"", KIND),
        (b"--x\r\n", KIND),
        (b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\ncut', KIND),
        (b"--x\r\n\r\nno name\r\n--x--\r\n", KIND),
        (b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n\xff\r\n--x--\r\n', KIND),
        (b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n\x00\r\n--x--\r\n', KIND),
        (129 * b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nb\r\n' + b"--x--", KIND),
    ],
)  # fmt: skip
def test_what_is_no_form_is_refused(body: bytes, kind: bytes) -> None:
    with pytest.raises(FieldInvalid):
        read_form(body, kind)


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_whatever_bytes_come_are_a_form_or_refused(body: bytes, kind: bytes) -> None:
    whole = b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n'
    for data in (body, b"--x\r\n" + body, whole[:40] + body + whole[40:]):
        for content_type in (KIND, kind, KIND[:20] + kind):
            try:
                read_form(data, content_type)
            except FieldInvalid as refused:
                assert refused.message


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "model"),
        ({"model": "m", "temperature": "hot"}, "temperature"),
        ({"model": "m", "temperature": "2"}, "temperature"),
        ({"model": "m", "response_format": "xml"}, "response_format"),
        ({"model": "m", "colour": "red"}, "colour"),
        ({"model": ["m", "n"]}, "model"),
        ({"model": "m", "stream": "true"}, "stream"),
        ({"model": "m", "timestamp_granularities[]": "page"}, "timestamp_granularities"),
    ],
)
def test_a_wrong_field_of_a_form_is_refused_by_its_name(
    fields: dict[str, object], field: str
) -> None:
    form = written(fields, [("file", ("a.wav", b"x", "audio/wav"))])
    with pytest.raises(FieldInvalid) as refused:
        read_transcription(form)
    assert refused.value.field == field


def test_files_that_are_missing_or_too_many_are_refused_by_name() -> None:
    file = ("a.png", b"x", "image/png")
    for files, field in (
        ([("other", file)], "other"),
        ([("mask", file)], "image"),
        ([("image", file), ("mask", file), ("mask", file)], "mask"),
    ):
        with pytest.raises(FieldInvalid) as refused:
            read_image_edit(written({"model": "m", "prompt": "x"}, files))
        assert refused.value.field == field


def test_numbers_of_a_form_are_read_from_their_texts() -> None:
    request = read_image_edit(
        written(
            {"model": "m", "prompt": "x", "n": "2", "output_compression": "50"},
            [("image", ("a.png", b"x", "image/png"))],
        )
    )
    assert (request.count, request.output_compression) == (2, 50)
