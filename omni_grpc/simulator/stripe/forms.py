"""Stripe's form encoding: `a[b][0][c]=1` is a tree."""

from typing import Any
from urllib.parse import parse_qsl


def read_form(body: bytes) -> dict[str, Any]:
    """The tree of a form; all leaves are texts, lists are dicts with their numbers as keys."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
        path = name.replace("]", "").split("[")
        place = tree
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = value
    return tree
