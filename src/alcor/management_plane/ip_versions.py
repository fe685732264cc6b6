"""Which IP versions hosts enforce: what is of another one is refused (law 7). Pure."""

from alcor.model import errors

ENFORCED = frozenset({4})


def check(ip_version: int, what: str) -> None:
    """Raise Invalid for what hosts would not enforce. `what`: the things that are asked for."""
    if ip_version not in ENFORCED:
        raise errors.Invalid(f"IPv{ip_version} {what} are not supported yet.", reason="InvalidInput")
