"""A provider that asks who calls: it notes each key, refuses some, and has the simulator answer."""

import http.client
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class KeyedProvider:
    """`seen` has the keys in the order in which they came; `refused` a status for some of them."""

    def __init__(self, simulator_url: str) -> None:
        self.seen: list[str] = []
        self.refused: dict[str, int] = {}
        behind = urlsplit(simulator_url).netloc
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                key = key_of(dict(self.headers.items()))
                provider.seen.append(key)
                status = provider.refused.get(key)
                if status is not None:
                    words = f'{{"error":{{"message":"Incorrect API key provided: {key}."}}}}'
                    data = words.encode()
                    headers = [("content-type", "application/json"), _length(data)]
                    if status == HTTPStatus.TOO_MANY_REQUESTS:  # for longer than any test takes
                        headers.append(("retry-after", "60"))
                    self._answer(status, headers, data)
                    return
                connection = http.client.HTTPConnection(behind, timeout=30)
                connection.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                headers = [one for one in answer.getheaders() if one[0].lower() not in _HOP]
                try:
                    found = answer.read()
                except (OSError, http.client.HTTPException):  # the simulator cut it, so this does
                    self._answer(answer.status, [*headers, ("content-length", "1000")], b"")
                    self.close_connection = True
                else:
                    self._answer(answer.status, [*headers, _length(found)], found)
                finally:
                    answer.close()
                    connection.close()

            def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def _length(body: bytes) -> tuple[str, str]:
    return "content-length", str(len(body))


def key_of(headers: dict[str, str]) -> str:
    """The key that a request shows, in whatever form."""
    named = {name.lower(): value for name, value in headers.items()}
    for name in ("x-api-key", "x-goog-api-key", "api-key"):
        if name in named:
            return named[name]
    said = named.get("authorization", "")
    if said.startswith("AWS4-HMAC-SHA256"):
        return said.partition("Credential=")[2].partition("/")[0]
    return said.removeprefix("Bearer ")
