"""The rules that new security groups get until the operator says otherwise: those of Neutron."""

from alcor.model.ids import DefaultRuleId, ProjectId
from alcor.model.records import PARENT, DefaultRule

_MADE_AT = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z


def _built_in(number: int, direction: str, ethertype: str) -> DefaultRule:
    return DefaultRule(
        id=DefaultRuleId(f"a1c0de00-0000-4000-8000-{number:012x}"),
        project_id=ProjectId(""),
        created_at=_MADE_AT,
        updated_at=_MADE_AT,
        revision_number=1,
        direction=direction,
        ethertype=ethertype,
        remote_group_id=None if direction == "egress" else PARENT,
        used_in_default_sg=True,
        used_in_non_default_sg=direction == "egress",
    )


# A new store has these (migration 9 holds their encoding), and the operator may remove them.
BUILT_IN = (
    _built_in(1, "egress", "IPv4"),
    _built_in(2, "egress", "IPv6"),
    _built_in(3, "ingress", "IPv4"),
    _built_in(4, "ingress", "IPv6"),
)
