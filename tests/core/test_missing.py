"""What is said of what is not there: what was looked for, what resembles it, where to look."""

import pytest

from omni_grpc.core.missing import LISTINGS, missing, no_account, no_call, no_top_up


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("orgs/acme", ("ListOrgs", "GET /v1/admin/orgs ", "`omni-grpc orgs list`")),
        (
            "orgs/acme/teams/web",
            ("ListTeams", "GET /v1/admin/orgs/acme/teams ", "`omni-grpc teams list --org acme`"),
        ),
        (
            "orgs/acme/teams/web/environments/live",
            (
                "ListEnvironments",
                "GET /v1/admin/orgs/acme/teams/web/environments ",
                "`omni-grpc envs list --org acme --team web`",
            ),
        ),
        (
            "orgs/acme/apiKeys/0123456789ab/budgets/day",
            (
                "ListBudgets",
                "GET /v1/admin/orgs/acme/apiKeys/0123456789ab/budgets ",
                "`omni-grpc budgets list --org acme --key 0123456789ab`",
            ),
        ),
        (
            "orgs/acme/webhooks/w/deliveries/d",
            (
                "ListWebhookDeliveries",
                "GET /v1/admin/orgs/acme/webhooks/w/deliveries ",
                "`omni-grpc webhooks deliveries orgs/acme/webhooks/w`",
            ),
        ),
        (
            "orgs/acme/teams/web/routingPolicies/cheap",
            (
                "ListRoutingPolicies",
                "`omni-grpc routing policies list --scope orgs/acme/teams/web`",
            ),
        ),
        (
            "global/experiments/half",
            ("ListExperiments", "`omni-grpc routing experiments list --scope global`"),
        ),
    ],
)
def test_it_is_told_where_what_there_is_is_listed(name: str, places: tuple[str, ...]) -> None:
    error = missing(name, "name")
    assert error.message.startswith(f"There is no `{name}`. {places[0]}")
    for place in places:
        assert place in error.message
    assert (error.field, error.resource) == ("name", name)


def test_each_command_that_is_named_is_there() -> None:
    import typer

    from omni_grpc.cli.app import app

    found = typer.main.get_command(app)
    for listing in LISTINGS.values():
        command = found
        for word in listing.command.split():
            command = command.commands[word]


def test_the_likest_of_its_own_collection_is_told() -> None:
    near = ("orgs/acme/teams/web", "orgs/acme/teams/ops", "orgs/other/teams/wbe")
    assert "Did you mean 'web'? ListTeams" in missing("orgs/acme/teams/wbe", near=near).message
    assert "Did you mean" not in missing("orgs/acme/teams/xyz", near=near).message
    assert "Did you mean" not in missing("orgs/acme/users/web", near=near).message


def test_what_no_list_has_says_what_to_do() -> None:
    assert "ListTopUps, GET /v1/top_ups" in no_top_up("t").message
    assert "ListUsageRecords" in no_call("c").message
    assert "ListOrgs" in no_account("accounts/a").message
