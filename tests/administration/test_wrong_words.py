"""A word that a field does not take is answered with those that it takes, and the nearest."""

import msgspec
import pytest

from omni_grpc.administration import field_invalid
from omni_grpc.administration.budgets import CreateBudget
from omni_grpc.administration.users import CreateUser
from omni_grpc.administration.webhooks import ListDeliveries
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.identity import parse_scopes


def refusal(kind: type[msgspec.Struct], **asked: object) -> FieldInvalid:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(asked, kind)
    return field_invalid(caught.value, kind)


def test_the_words_of_a_field_within_a_body_are_told() -> None:
    budget = {"amount_nanousd": 1, "period": "weekly"}
    found = refusal(CreateBudget, parent="orgs/acme", budget_id="all", budget=budget)
    assert found.field == "budget.period"
    assert found.message == (
        "`budget.period`: 'weekly' is not one of day, week, month, total. Did you mean 'week'?"
    )


def test_so_are_those_of_a_field_that_may_be_left_out() -> None:
    found = refusal(ListDeliveries, parent="orgs/acme/webhooks/w", state="x" * 1_000)
    assert found.message == (f"`state`: {'x' * 64!r} is not one of pending, delivered, dead.")


def test_a_word_cannot_stand_for_a_place() -> None:
    asked = {"parent": "orgs/acme", "issuer": "https://idp", "subject": "me"}
    found = refusal(CreateUser, **asked, role="ownr' - at `$.subject`")
    assert found.field == "role"
    assert "is not one of owner, admin, developer, viewer" in found.message


class Nested(msgspec.Struct):
    many: tuple[CreateUser, ...] = ()


def test_one_of_many_is_found() -> None:
    one = {"parent": "orgs/acme", "issuer": "i", "subject": "s", "role": "view"}
    found = refusal(Nested, many=[one])
    assert found.field == "many[0].role"
    assert "Did you mean 'viewer'?" in found.message


def test_what_is_no_word_at_all_is_told_as_before() -> None:
    assert refusal(CreateUser, parent=3).message == "`parent`: Expected `str`, got `int`."


def test_scopes_are_told_with_the_nearest() -> None:
    with pytest.raises(FieldInvalid) as caught:
        parse_scopes(["inference", "viewer"])
    assert caught.value.field == "scopes"
    assert "only, not 'viewer'. Did you mean 'viewing'?" in caught.value.message
    assert "`management`" in caught.value.message
