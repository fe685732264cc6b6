"""The rules that new security groups get, on the wire: everybody may see them, administrators change them."""

from collections.abc import Mapping, Sequence

import msgspec
from starlette.responses import Response

from alcor.contracts.store import Store
from alcor.management_plane.api import gate, listing, moments, policy, validation
from alcor.management_plane.api.accepts import accepts
from alcor.management_plane.api.attribute import Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import JSON, Collection, Unchangeable, written
from alcor.management_plane.api.rule_attributes import rule_attributes, rule_part
from alcor.management_plane.caller import Caller
from alcor.management_plane.security_group import templates
from alcor.management_plane.security_group.decisions import DefaultRuleFields
from alcor.management_plane.security_group.templates import DefaultRuleService
from alcor.model.records import PARENT, DefaultRule
from alcor.model.roles import Level

_POLICY = policy.Policy(Level.READER, Level.ADMIN)


@accepts({"anyOf": [{"const": PARENT}, validation.UUID]})
def _remote_group(value: object) -> str:
    return PARENT if value == PARENT else validation.uuid_text(value)


RESOURCE = Resource(
    singular="default_security_group_rule",
    plural="default_security_group_rules",
    kind=DefaultRule,
    fields=DefaultRuleFields,
    attributes=(
        Attribute(name="id", filterable=True, sortable=True),
        Attribute(name="description", parse=validation.text_or_none(1024), post=True, filterable=True),
        *rule_attributes(_remote_group, has_columns=False),
        Attribute(
            name="used_in_default_sg", parse=validation.boolean, post=True, required=True, filterable=True
        ),
        Attribute(
            name="used_in_non_default_sg", parse=validation.boolean, post=True, required=True, filterable=True
        ),
    ),
)


class DefaultRuleAnswer(msgspec.Struct, kw_only=True):
    """A default rule as it is shown: nobody's."""

    id: str
    description: str
    direction: str
    ethertype: str
    protocol: str | None
    port_range_min: int | None
    port_range_max: int | None
    remote_group_id: str | None
    remote_ip_prefix: str | None
    remote_address_group_id: str | None
    used_in_default_sg: bool
    used_in_non_default_sg: bool
    created_at: str
    updated_at: str
    revision_number: int


class _DefaultRuleChanges(Unchangeable):
    def __init__(self, service: DefaultRuleService) -> None:
        self._service = service

    async def delete(self, caller: Caller, record_id: str, *, expected: int | None) -> int:
        return await self._service.delete(caller, record_id, expected=expected)


class DefaultRuleCollection(Collection[DefaultRuleFields]):
    """Serves default rules. They belong to no project, so they are read here, all at once: they are few."""

    def __init__(self, store: Store, service: DefaultRuleService) -> None:
        changes = _DefaultRuleChanges(service)
        super().__init__(RESOURCE, store, changes, _answers, create=service.create, has_update=False)
        self._rules = service

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        path = "/v2.0/default-security-group-rules"
        return [
            entrance.route(path, policy=_POLICY, get=self.list, post=self.create),
            entrance.route(path + "/{id}", policy=_POLICY, get=self.show, delete=self.delete),
        ]

    async def list(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the collection."""
        answers = await _answers(call, await templates.read(self._store))
        page = listing.listed_from(self.resource, call, answers)
        return Response(listing.encoded(self.resource, page), media_type=JSON)

    async def show(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET one object."""
        answer = _answer(await self._rules.fetch(path["id"]))
        return written({self.resource.singular: listing.shown(call, answer)}, 200)


async def _answers(call: Call, rules: Sequence[DefaultRule]) -> list[DefaultRuleAnswer]:
    return [_answer(rule) for rule in rules]


def _answer(rule: DefaultRule) -> DefaultRuleAnswer:
    return DefaultRuleAnswer(
        id=rule.id,
        description=rule.description,
        **rule_part(rule),  # type: ignore[arg-type]  # what rules have in common, by name
        used_in_default_sg=rule.used_in_default_sg,
        used_in_non_default_sg=rule.used_in_non_default_sg,
        created_at=moments.text(rule.created_at),
        updated_at=moments.text(rule.updated_at),
        revision_number=rule.revision_number,
    )
