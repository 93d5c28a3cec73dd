"""What a caller may give to others: never more than it has itself."""

from omni_grpc.administration.operation import Caller
from omni_grpc.core.errors import FieldInvalid, ScopeMissing
from omni_grpc.core.tenancy import model_matches
from omni_grpc.identity import Role, Scope


def check_grant(caller: Caller, scopes: frozenset[Scope], *, field: str) -> None:
    """Go on only if the caller has all of the scopes that it gives.

    Raises:
        ScopeMissing: naming those that it lacks.
    """
    if caller.is_operator:
        return
    own = caller.principal.scopes
    if Scope.MANAGEMENT in own:
        own |= {Scope.VIEWING}  # what may change a thing may see it
    lacking = ", ".join(f"`{scope}`" for scope in sorted(scopes - own))
    if lacking:
        raise ScopeMissing(
            f"Nobody can give what they do not have: `{field}` would give {lacking}.",
            metadata={"scope": min(scopes - own).value},
        )


def check_models_granted(caller: Caller, org_slug: str, models: tuple[str, ...]) -> None:
    """Go on only if the caller may call all of the models that it gives.

    The operator gives others' keys what it wants, and is bound in its own organisation.

    Args:
        caller: who gives.
        org_slug: of the new key's organisation.
        models: the list of the new key; all models if empty.

    Raises:
        FieldInvalid: the list has more than the caller's own.
    """
    own = caller.principal.models
    if not own or (caller.is_operator and caller.key_of(org_slug) is None):
        return
    if not models or any(
        one not in own and (one.endswith("/*") or not model_matches(own, one)) for one in models
    ):
        raise FieldInvalid(
            f"Nobody can give what they do not have: your own key may call {', '.join(own)} alone, "
            "so `models` must name of these.",
            field="models",
        )


def check_role_granted(
    caller: Caller, org_slug: str, role: Role, *, is_limited: bool, field: str
) -> None:
    """Go on only if the caller may do what the role lets do.

    A user has no list of models, no limits of its own, and no end.

    Args:
        caller: who gives.
        org_slug: of the user's organisation.
        role: what is given.
        is_limited: whether the caller's own key has rate limits or budgets.
        field: the request's name for the role.

    Raises:
        ScopeMissing: naming the scopes that the caller lacks.
        FieldInvalid: the role calls models without what holds the caller's key, or could make keys
            that outlive it.
    """
    check_grant(caller, role.scopes, field=field)
    own = caller.principal
    is_bound = caller.key_of(org_slug) is not None
    lacking = ""
    if Scope.INFERENCE in role.scopes:
        if own.models and (is_bound or not caller.is_operator):
            lacking = f"may call {', '.join(own.models)} alone, and a {role} may call every model"
        elif is_limited:
            lacking = f"has limits of its own, and a {role} has none"
    if Scope.MANAGEMENT in role.scopes and is_bound and own.expire_time is not None:
        lacking = f"ends at {own.expire_time.isoformat()}, and a {role} can make keys that do not"
    if lacking:
        raise FieldInvalid(
            f"Nobody can give what they do not have: your own key {lacking}. "
            f"`{Role.VIEWER}` is a role that this key can give.",
            field=field,
        )
