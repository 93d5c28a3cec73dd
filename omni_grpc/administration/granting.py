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


def check_models_granted(caller: Caller, models: tuple[str, ...]) -> None:
    """Go on only if the caller may call all of the models that it gives.

    Args:
        caller: who gives.
        models: the list of the new key; all models if empty.

    Raises:
        FieldInvalid: the list has more than the caller's own.
    """
    own = caller.principal.models
    if caller.is_operator or not own:
        return
    if not models or any(
        one not in own and (one.endswith("/*") or not model_matches(own, one)) for one in models
    ):
        raise FieldInvalid(
            f"Nobody can give what they do not have: your own key may call {', '.join(own)} alone, "
            "so `models` must name of these.",
            field="models",
        )


def check_role_granted(caller: Caller, role: Role, *, field: str) -> None:
    """Go on only if the caller may do what the role lets do: for a user has no list of models.

    Raises:
        ScopeMissing: naming the scopes that the caller lacks.
        FieldInvalid: the role calls all models, and the caller may call some alone.
    """
    check_grant(caller, role.scopes, field=field)
    if caller.principal.models and not caller.is_operator and Scope.INFERENCE in role.scopes:
        raise FieldInvalid(
            "Nobody can give what they do not have: your own key may call "
            f"{', '.join(caller.principal.models)} alone, and a {role} may call every model. "
            f"`{Role.VIEWER}` is a role that this key can give.",
            field=field,
        )
