"""Lists: filters, fields, sorting and pages with links, for every resource alike.

What the store has a column for is asked of the store; the rest is compared with the answers, page by page, so
that a filter never costs more memory than the pages it looks at. Sorting by what the store has no column for
reads all matching records first; the store bounds that.
"""

import asyncio
import bisect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from alcor.contracts import columns
from alcor.contracts.store import Query, Store, Value
from alcor.management_plane import access
from alcor.management_plane.api import validation
from alcor.management_plane.api.accepts import Literal, literal_of
from alcor.management_plane.api.attribute import Attribute, F, Resource
from alcor.management_plane.api.call import Call
from alcor.model import errors
from alcor.model.addressing import ip_from_text
from alcor.model.records import EVERYBODY, AnyRecord

T = TypeVar("T")

PAGE_MAX = 10_000
SEARCH_MAX = 50_000  # records that one request looks at; the page ends there, and its link goes on
_CHUNK = 1000
_PAGING = frozenset({"fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse"})
_TAG_FILTERS = frozenset({"tags", "tags-any", "not-tags", "not-tags-any"})
_SORT_COLUMNS = frozenset({"id", "name", "project_id", "network_id", "device_id", "device_owner"})

Answers = Callable[[Sequence[Any]], Awaitable[Sequence[msgspec.Struct]]]  # records to answers, in order
Matches = Callable[[msgspec.Struct], bool]


class Plan(msgspec.Struct, frozen=True):
    """A list that was asked for."""

    where: dict[str, tuple[Value, ...]]
    any_of: Sequence[Mapping[str, Sequence[Value]]]  # where what the caller may see is
    matches: tuple[Matches, ...]
    fields: tuple[str, ...]
    order: tuple[tuple[str, bool], ...]  # (attribute, ascending)
    limit: int
    is_limited: bool  # the client asked for pages
    marker: str | None
    is_reverse: bool


class Page(msgspec.Struct, frozen=True):
    """What a list answers."""

    items: list[msgspec.Struct]
    links: list[dict[str, str]]
    fields: tuple[str, ...]


def planned(resource: Resource[F], call: Call) -> Plan:
    """Understand the query. Raises Invalid for filters, sort keys and pages that do not exist."""
    values: dict[str, list[str]] = {}
    for name, value in call.parameters:
        values.setdefault(name, []).append(value)
    attributes = resource.by_name
    _check_filters(values, attributes)
    where: dict[str, tuple[Value, ...]] = {}
    matches: list[Matches] = []
    for name, texts in values.items():
        if name in _PAGING:
            continue
        if name == "shared" and resource.kind in columns.SHARED_BY:
            _add_shared(texts, call.caller.project_id, where, matches)
        else:
            _add_filter(name, texts, attributes, where, matches)
    limit, is_limited = _limit(values)
    return Plan(
        where=where,
        any_of=() if call.caller.is_admin else access.visible(resource.kind, call.caller.project_id),
        matches=tuple(matches),
        fields=tuple(name for name in values.get("fields", ()) if name),
        order=_order(values, attributes),
        limit=limit,
        is_limited=is_limited,
        marker=values["marker"][-1] if "marker" in values else None,
        is_reverse=values.get("page_reverse", ["False"])[-1].lower() == "true",
    )


async def listed(resource: Resource[F], call: Call, store: Store, answers: Answers) -> Page:
    """Read, compare and cut the page that the call asks for."""
    plan = planned(resource, call)
    marker = await _marker(resource, call, store, plan)
    looked_at = ""
    if any(not values for values in plan.where.values()):
        found: list[msgspec.Struct] = []
    elif all(_column(resource, name) in _SORT_COLUMNS for name, _ in plan.order):
        found, looked_at = await _by_store(resource, store, answers, plan, marker)
    else:
        found = await _by_answers(resource, store, answers, plan)
    return _page(call, plan, found, looked_at)


def listed_from(resource: Resource[F], call: Call, answers: Sequence[msgspec.Struct]) -> Page:
    """Compare and cut the page from answers that are not in the store."""
    plan = planned(resource, call)
    return _page(call, plan, _sorted(resource, plan, answers))


def cut(call: Call, plural: str, items: Iterable[T], id_of: Callable[[T], str]) -> dict[str, object]:
    """Give the body of a list that has no table, in the order of ids: a page of it. Raises Invalid."""
    ordered = sorted(items, key=id_of)
    asked = dict(call.parameters)
    limit, _ = _limit({name: (value,) for name, value in asked.items()})
    start = bisect.bisect_right(ordered, asked.get("marker", ""), key=id_of)
    page = ordered[start : start + limit]
    document: dict[str, object] = {plural: page}
    if start + limit < len(ordered):
        kept = [pair for pair in call.parameters if pair[0] not in ("limit", "marker")]
        onward = [*kept, ("limit", str(limit)), ("marker", id_of(page[-1]))]
        document[f"{plural}_links"] = [_link(call, "next", onward)]
    return document


def _page(call: Call, plan: Plan, found: list[msgspec.Struct], looked_at: str = "") -> Page:
    """Make the page. `looked_at`: the search goes on after this one; empty: it is at its end, or has enough."""
    has_more = len(found) > plan.limit
    del found[plan.limit :]
    if plan.is_reverse:
        found.reverse()
    return Page(found, _links(call, plan, found, looked_at, has_more=has_more), plan.fields)


def encoded(resource: Resource[F], page: Page) -> bytes:
    """Write the page."""
    items: Sequence[object] = page.items
    if page.fields:
        items = [chosen(item, page.fields) for item in page.items]
    document: dict[str, object] = {resource.plural: items}
    if page.links:
        document[f"{resource.plural}_links"] = page.links
    return msgspec.json.encode(document)


def shown(call: Call, answer: msgspec.Struct) -> object:
    """Give what the call asks for of one answer."""
    return chosen(answer, [value for name, value in call.parameters if name == "fields" and value])


def chosen(answer: msgspec.Struct, fields: Sequence[str]) -> object:
    """Give only the named attributes of an answer; unknown names are nothing."""
    if not fields:
        return answer
    everything = msgspec.json.decode(msgspec.json.encode(answer))
    return {name: everything[name] for name in fields if name in everything}


async def _by_store(
    resource: Resource[F], store: Store, answers: Answers, plan: Plan, marker: AnyRecord | None
) -> tuple[list[msgspec.Struct], str]:
    """Read until there is enough for the page; give where a search that costs too much was left."""
    wanted = plan.limit + 1
    order = tuple((_column(resource, name), ascending != plan.is_reverse) for name, ascending in plan.order)
    if not any(name == "id" for name, _ in order):
        order = (*order, ("id", not plan.is_reverse))
    found: list[msgspec.Struct] = []
    after = marker
    chunk = wanted if not plan.matches else _CHUNK
    looked_at = 0
    while len(found) < wanted:
        if looked_at >= SEARCH_MAX:
            assert after is not None, "at least one was looked at"
            return found, after.id
        query = Query(where=plan.where, any_of=plan.any_of, order=order, after=after, limit=chunk)
        records: Sequence[AnyRecord] = await store.select(resource.kind, query)
        looked_at += len(records)
        found += [
            answer
            for answer in await _answered(answers, records)
            if all(matches(answer) for matches in plan.matches)
        ]
        if len(records) < chunk:
            break
        after = records[-1]
    return found, ""


async def _answered(answers: Answers, records: Sequence[AnyRecord]) -> list[msgspec.Struct]:
    """Make the answers of many records, with pauses: other requests are not to wait for a long list."""
    found: list[msgspec.Struct] = []
    for start in range(0, len(records), _CHUNK):
        if start:
            await asyncio.sleep(0)
        found += await answers(records[start : start + _CHUNK])
    return found


def _column(resource: Resource[F], name: str) -> str:
    """Give what the store calls an attribute."""
    return resource.by_name[name].column or name


async def _by_answers(
    resource: Resource[F], store: Store, answers: Answers, plan: Plan
) -> list[msgspec.Struct]:
    records: Sequence[AnyRecord] = await store.select(
        resource.kind, Query(where=plan.where, any_of=plan.any_of)
    )
    return _sorted(resource, plan, await _answered(answers, records))


def _sorted(resource: Resource[F], plan: Plan, answers: Sequence[msgspec.Struct]) -> list[msgspec.Struct]:
    found = [answer for answer in answers if all(matches(answer) for matches in plan.matches)]
    for name, ascending in reversed((*plan.order, ("id", True))):
        found.sort(
            key=lambda answer, name=name: _sort_value(answer, name),  # type: ignore[misc]  # bound per turn
            reverse=ascending == plan.is_reverse,
        )
    if plan.marker is not None:
        at = [value_of(answer, "id") for answer in found]
        if plan.marker not in at:
            raise access.missing(resource.kind, plan.marker)
        found = found[at.index(plan.marker) + 1 :]
    return found[: plan.limit + 1]


async def _marker(resource: Resource[F], call: Call, store: Store, plan: Plan) -> AnyRecord | None:
    if plan.marker is None:
        return None
    record: AnyRecord = await access.fetch_one(store, call.caller, resource.kind, plan.marker)
    return record


def value_of(answer: msgspec.Struct, name: str) -> Any:
    """Give an attribute of an answer by its name on the wire."""
    return getattr(answer, name.replace(":", "_"), None)


def _sort_value(answer: msgspec.Struct, name: str) -> tuple[bool, str | int]:
    value = value_of(answer, name)
    return (value is not None, value if isinstance(value, (int, str)) else str(value))


def _check_filters(values: Mapping[str, Sequence[str]], attributes: Mapping[str, Attribute]) -> None:
    """Raise Invalid for filters that do not exist, all at once, and for texts that mean nothing there."""
    unknown = []
    for name, texts in values.items():
        if name in _PAGING or (name in _TAG_FILTERS and "tags" in attributes):
            continue
        attribute = attributes.get("project_id" if name == "tenant_id" else name)
        if attribute is None or not attribute.filterable:
            unknown.append(name)
        elif (kind := literal_of(attribute.parse)) != "string":
            for text in texts:
                _check_literal(kind, text)
    if unknown:
        raise errors.Invalid(f"{unknown} is invalid attribute for filtering")


def _check_literal(kind: Literal, text: str) -> None:
    if kind == "integer" and not re.fullmatch(r"[-+]?[0-9]{1,18}", text.strip()):
        raise errors.Invalid(f"Invalid input for operation: '{text}' is not an integer.", reason="InvalidInput")
    if kind == "boolean" and not (_is_flag(text, True) or _is_flag(text, False)):
        raise errors.Invalid(
            f"Invalid input for operation: '{text}' cannot be converted to boolean.", reason="InvalidInput"
        )


def _add_filter(
    name: str,
    texts: Sequence[str],
    attributes: Mapping[str, Attribute],
    where: dict[str, tuple[Value, ...]],
    matches: list[Matches],
) -> None:
    if name in _TAG_FILTERS:
        matches.append(_tags_match(name, {tag for text in texts for tag in text.split(",")}))
        return
    attribute = attributes["project_id" if name == "tenant_id" else name]
    if attribute.name == "fixed_ips":
        _add_fixed_ips(texts, where, matches)
    elif attribute.column is None:
        matches.append(_text_matches(attribute.name, frozenset(texts)))
    else:
        where[attribute.column] = tuple(_columns(attribute, texts))


def _add_shared(
    texts: Sequence[str], project_id: str, where: dict[str, tuple[Value, ...]], matches: list[Matches]
) -> None:
    """Ask the store for what is shared with the project; what is not is compared with the answers."""
    wanted = {flag for flag in (True, False) if any(_is_flag(text, flag) for text in texts)}
    if wanted == {True}:
        where[columns.SHARED_WITH] = (project_id, EVERYBODY)
    elif wanted != {True, False}:
        matches.append(_text_matches("shared", frozenset(texts)))


def _columns(attribute: Attribute, texts: Sequence[str]) -> list[Value]:
    values = []
    for text in texts:
        try:
            values.append(attribute.to_column(text))
        except ValueError:
            continue  # what cannot be a value is nobody's
    return values


def _add_fixed_ips(texts: Sequence[str], where: dict[str, tuple[Value, ...]], matches: list[Matches]) -> None:
    asked: dict[str, list[str]] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or key not in ("ip_address", "subnet_id", "ip_address_substr"):
            raise errors.Invalid(
                f"Invalid input for operation: '{text}' is not of the form <key>=[value].",
                reason="InvalidInput",
            )
        asked.setdefault(key, []).append(value)
    if "subnet_id" in asked:
        where["fixed_ips.subnet_id"] = tuple(asked["subnet_id"])
    if "ip_address" in asked:
        ips = []
        for text in asked["ip_address"]:
            try:
                ips.append(bytes(ip_from_text(text)))
            except ValueError:
                raise errors.Invalid(
                    f"Invalid input for fixed_ips. Reason: '{text}' is not an IP address."
                ) from None
        where["fixed_ips.ip"] = tuple(ips)
    parts = asked.get("ip_address_substr")
    if parts:
        matches.append(
            lambda answer: any(
                part in fixed.ip_address for fixed in value_of(answer, "fixed_ips") for part in parts
            )
        )


def _text_matches(name: str, texts: frozenset[str]) -> Matches:
    def matches(answer: msgspec.Struct) -> bool:
        value = value_of(answer, name)
        if isinstance(value, bool):
            return any(_is_flag(text, value) for text in texts)
        if isinstance(value, (list, tuple)):
            return any(str(entry) in texts for entry in value)
        if isinstance(value, str) and name == "status":
            return value in {text.upper() for text in texts}
        return ("" if value is None else str(value)) in texts

    return matches


def _is_flag(text: str, value: bool) -> bool:
    try:
        return validation.boolean(text) is value
    except ValueError:
        return False


def _tags_match(name: str, wanted: set[str]) -> Matches:
    negative = name.startswith("not-")
    some = name.endswith("-any")

    def matches(answer: msgspec.Struct) -> bool:
        held = set(value_of(answer, "tags") or ())
        hit = bool(held & wanted) if some else wanted <= held
        return hit != negative

    return matches


def _order(
    values: Mapping[str, Sequence[str]], attributes: Mapping[str, Attribute]
) -> tuple[tuple[str, bool], ...]:
    keys = ["project_id" if key == "tenant_id" else key for key in values.get("sort_key", ())]
    directions = values.get("sort_dir", ["asc"] * len(keys))
    if len(keys) != len(directions):
        raise errors.Invalid("The number of sort_keys and sort_dirs must be same")
    unknown = [key for key in keys if key not in attributes or not attributes[key].sortable]
    if unknown:
        raise errors.Invalid(f"{unknown} is invalid attribute for sort_keys")
    wrong = [direction for direction in directions if direction not in ("asc", "desc")]
    if wrong:
        raise errors.Invalid(f"{wrong} is invalid value for sort_dirs, valid value is 'asc' and 'desc'")
    order: dict[str, bool] = {}
    for key, direction in zip(keys, directions, strict=True):
        order.setdefault(key, direction == "asc")  # said again, a key decides nothing any more
    return tuple(order.items())


def _limit(values: Mapping[str, Sequence[str]]) -> tuple[int, bool]:
    if "limit" not in values:
        return PAGE_MAX, False
    text = values["limit"][-1]
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise errors.Invalid(
            f"Bad limit request: Limit must be an integer 0 or greater and not '{text}'.", reason="BadRequest"
        )
    return (min(int(text), PAGE_MAX), True) if int(text) else (PAGE_MAX, False)


def _links(
    call: Call, plan: Plan, items: Sequence[msgspec.Struct], looked_at: str, *, has_more: bool
) -> list[dict[str, str]]:
    """Give the links as Neutron does, where clients asked for pages: a full page has one onward, whether or not
    something is there, and the empty page after it one back. Where they did not, only what leads on."""
    limit, is_full = ("limit", str(plan.limit)), len(items) == plan.limit
    kept = [limit, *(pair for pair in call.parameters if pair[0] not in ("limit", "marker", "page_reverse"))]
    back = [*kept, ("page_reverse", "True")]
    if looked_at:
        onward = [*(back if plan.is_reverse else kept), ("marker", looked_at)]
        return [_link(call, "previous" if plan.is_reverse else "next", onward)]
    if not plan.is_limited:
        return [_link(call, "next", kept + _marked(items[-1:]))] if has_more and not plan.is_reverse else []
    links = []
    if is_full or plan.is_reverse:
        links.append(_link(call, "next", kept + _marked(items[-1:])))
    if is_full or not plan.is_reverse:
        links.append(_link(call, "previous", back + _marked(items[:1])))
    return links


def _marked(items: Sequence[msgspec.Struct]) -> list[tuple[str, str]]:
    return [("marker", value_of(item, "id")) for item in items]


def _link(call: Call, rel: str, parameters: Sequence[tuple[str, str]]) -> dict[str, str]:
    return {"rel": rel, "href": f"{call.base_url}{call.path}?{urlencode(parameters)}"}
