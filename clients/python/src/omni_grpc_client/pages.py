"""Lists that fetch their pages as they are read, so that a long list is never held whole."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Generic, TypeVar

from omni_grpc_client.calls import Page

Item_co = TypeVar("Item_co", covariant=True)


class AsyncPages(Generic[Item_co]):
    """A list of the service: `async for` over it for the items, over `by_page()` for the pages.

    Each iteration starts anew. The timeout of the call is that of each page.
    """

    def __init__(self, fetch: Callable[[str], Awaitable[Page[Item_co]]], page_token: str) -> None:
        self._fetch = fetch
        self._page_token = page_token

    async def __aiter__(self) -> AsyncIterator[Item_co]:
        async for page in self.by_page():
            for item in page.items:
                yield item

    async def by_page(self) -> AsyncIterator[Page[Item_co]]:
        """The pages; `next_page_token` of one lets another list go on from there."""
        token: str | None = self._page_token
        while token is not None:
            page = await self._fetch(token)
            token = page.next_page_token or None
            yield page


class Pages(Generic[Item_co]):
    """A list of the service: iterate it for the items, `by_page()` for the pages.

    Each iteration starts anew. The timeout of the call is that of each page.
    """

    def __init__(self, fetch: Callable[[str], Page[Item_co]], page_token: str) -> None:
        self._fetch = fetch
        self._page_token = page_token

    def __iter__(self) -> Iterator[Item_co]:
        for page in self.by_page():
            yield from page.items

    def by_page(self) -> Iterator[Page[Item_co]]:
        """The pages; `next_page_token` of one lets another list go on from there."""
        token: str | None = self._page_token
        while token is not None:
            page = self._fetch(token)
            token = page.next_page_token or None
            yield page
