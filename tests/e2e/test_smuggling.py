"""Requests in which another one could hide, and headers that contradict each other: raw bytes.

Each is refused with a typed error, or read in the one way there is, and never as two requests.
"""

import json
import re
import socket

import pytest
from gateway import Gateway, HttpConnection, Tenant, chat_body, tells_nothing_of_our_insides

HIDDEN = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED = "transfer-encoding: chunked\r\n"
END = "0\r\n\r\n"


def exchange(gateway: Gateway, sent: bytes, seconds: float = 20.0) -> tuple[list[int], bytes]:
    """The statuses of all answers to some bytes, until the gateway closes; and the last body."""
    host, _, port = gateway.rest.removeprefix("http://").rpartition(":")
    found = b""
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(sent)
        try:
            while part := connection.recv(65_536):
                found += part
        except ConnectionResetError:  # it closed with bytes of ours unread
            pass
    assert tells_nothing_of_our_insides(found.decode("latin-1"))
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", found)]
    return statuses, found.rpartition(b"\r\n\r\n")[2]


def request(tenant: Tenant, headers: str, body: bytes | str = b"", head: str = "") -> bytes:
    """A request with these headers beside a good key, a host, and what hides behind it."""
    line = head or "POST /v1/chat/completions HTTP/1.1"
    key = f"authorization: Bearer {tenant.api_key}\r\n"
    made = f"{line}\r\nhost: x\r\n{key}{headers}\r\n".encode("latin-1")
    return made + (body.encode() if isinstance(body, str) else body)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (f"content-length: {len(END)}\r\n{CHUNKED}", END),
        (f"{CHUNKED}content-length: {len(END)}\r\n", END),
        ("content-length: 2\r\ncontent-length: 2\r\n", "{}"),
        ("content-length: 2\r\ncontent-length: 40\r\n", "{}"),
        ("content-length: 2, 2\r\n", "{}"),
        ("content-length: +2\r\n", "{}"),
        ("content-length: -2\r\n", "{}"),
        ("content-length: 0x2\r\n", "{}"),
        ("content-length: 18446744073709551618\r\n", "{}"),
        ("transfer-encoding: xchunked\r\n", END),
        ("transfer-encoding: identity\r\n", "{}"),
        ("transfer-encoding: gzip, chunked\r\n", END),
        ("transfer-encoding: chunked, identity\r\n", END),
        (f"{CHUNKED}{CHUNKED}", END),
        ("transfer-encoding : chunked\r\n", END),
        ("transfer-encoding:\r\n chunked\r\n", END),
        ("transfer-encoding: \x0bchunked\r\n", END),
        ("x-a: b\r\n folded\r\n", ""),
        ("x-a: b\rc\r\n", ""),
        ("x-a: b\0c\r\n", ""),
        ("x a: b\r\n", ""),
        ("x-a\r\n", ""),
        (": b\r\n", ""),
        ("host: other\r\n", ""),
        (CHUNKED, "zz\r\n{}\r\n" + END),
        (CHUNKED, "0x2\r\n{}\r\n" + END),
        (CHUNKED, "-2\r\n{}\r\n" + END),
        (CHUNKED, "2 \r\n{}\r\n" + END),
        (CHUNKED, "fffffffffffffffff\r\n{}\r\n" + END),
        (CHUNKED, "2\r\n{}X\r\n" + END),
        (CHUNKED, "2\n{}\r\n" + END),
        (CHUNKED, "2\r\n{}\r\n0\r\nx a: b\r\n\r\n"),
    ],
)
def test_a_request_that_could_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(
    gateway: Gateway, tenant: Tenant, headers: str, body: str
) -> None:
    statuses, answer = exchange(gateway, request(tenant, headers, body) + HIDDEN)
    assert statuses == [400]
    error = json.loads(answer)["error"]
    assert (error["code"], error["omni"]["reason"]) == ("invalid_value", "FIELD_INVALID")


@pytest.mark.parametrize(
    "line",
    [
        "POST /v1/chat/completions HTTP/2.0",
        "POST http://other/v1/chat/completions HTTP/1.1",
        "CONNECT other:443 HTTP/1.1",
        "POST /v1/chat/completions HTTP/1.1 x",
        "post /v1/chat/completions HTTP/1.1",
    ],
)
def test_a_first_line_that_is_not_the_usual_one_is_refused(
    gateway: Gateway, tenant: Tenant, line: str
) -> None:
    statuses, _ = exchange(gateway, request(tenant, "", head=line) + HIDDEN)
    assert statuses == [400]


def test_a_request_without_a_host_is_refused(gateway: Gateway, tenant: Tenant) -> None:
    bare = f"GET /v1/models HTTP/1.1\r\nauthorization: Bearer {tenant.api_key}\r\n\r\n".encode()
    assert exchange(gateway, bare + HIDDEN)[0] == [400]


def test_an_old_client_may_not_send_chunks(gateway: Gateway, tenant: Tenant) -> None:
    old = request(tenant, CHUNKED, END, head="POST /v1/chat/completions HTTP/1.0")
    assert exchange(gateway, old + HIDDEN)[0] == [400]


@pytest.mark.parametrize("count", [1, 3_000])
def test_headers_without_end_are_refused(gateway: Gateway, tenant: Tenant, count: int) -> None:
    each = "x" * (20_000 // count)
    headers = "".join(f"{each}{number}: y\r\n" for number in range(count))
    assert exchange(gateway, request(tenant, headers))[0] == [431]


def test_what_stands_behind_a_body_is_a_request_of_its_own_with_no_key_of_another(
    gateway: Gateway, tenant: Tenant
) -> None:
    body = b'{"model": "sim/fast", "messages": [{"role": "user", "content": "Hello"}]}'
    good = request(tenant, f"content-length: {len(body)}\r\n", body)
    last = HIDDEN.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    assert exchange(gateway, good + last)[0] == [200, 401]


def test_a_trailer_is_no_header(gateway: Gateway, tenant: Tenant) -> None:
    """Else a proxy that passes trailers on would let anyone add a key."""
    sent = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{CHUNKED}connection: close\r\n\r\n"
        f"2\r\n{{}}\r\n0\r\nauthorization: Bearer {tenant.api_key}\r\n\r\n"
    )
    assert exchange(gateway, sent.encode())[0] == [401]


@pytest.mark.parametrize(
    "headers",
    [
        "authorization: Bearer {key}\r\n",
        "authorization: Bearer other\r\n",
        "x-api-key: other\r\n",
        "x-api-key: {key}\r\nx-api-key: {key}\r\n",
        "sign-in-with-x: e30=\r\n",
        "x-wallet-address: a\r\n",
        "x-wallet-address: a\r\nx-wallet-signature: b\r\nx-wallet-nonce: c\r\n",
    ],
)
def test_two_ways_to_say_who_calls_are_refused(
    gateway: Gateway, tenant: Tenant, headers: str
) -> None:
    given = headers.format(key=tenant.api_key) + "connection: close\r\n"
    statuses, answer = exchange(gateway, request(tenant, given, head="GET /v1/models HTTP/1.1"))
    assert statuses == [400]
    assert json.loads(answer)["error"]["omni"]["reason"] == "FIELD_INVALID"


def test_nobodys_word_for_an_address_is_taken_unless_that_is_set(
    gateway: Gateway, tenant: Tenant
) -> None:
    with HttpConnection(gateway, gateway.admin_key) as http:
        made = http.ask(
            f"/v1/admin/orgs/{tenant.org}/teams",
            b'{"team_id": "forwarded"}',
            x_forwarded_for="192.0.2.66",
            x_forwarded_proto="https",
        )
        assert made.status == 200, made.body
        entries = http.ask(f"/v1/admin/orgs/{tenant.org}/auditEntries").json["data"]
    assert [one["peer"] for one in entries if one["action"] == "CreateTeam"] == ["127.0.0.1"]


def test_the_gateway_serves_on(gateway: Gateway, tenant: Tenant) -> None:
    exchange(gateway, b"\xff" * 100)
    with HttpConnection(gateway, tenant.api_key) as http:
        assert http.ask(body=chat_body()).status == 200
        assert http.ask(body=chat_body(), x_api_key=tenant.api_key).status == 200
