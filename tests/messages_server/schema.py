"""The request's shape, held against the installed SDK's types: no field, type or value they do not know."""

from __future__ import annotations

import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as AbstractSequence
from functools import cache
from typing import Any

import typing_extensions
from anthropic import BaseModel
from anthropic.types.anthropic_beta_param import AnthropicBetaParam
from anthropic.types.message_create_params import MessageCreateParamsStreaming

from tests.messages_server.refusal import Refusal

Check = Callable[[Any], None]
"""Raises Refusal for a value that does not fit."""

_SENT_AS_HEADERS = {"user_profile_id", "workspace_id"}


def check_body(body: Any) -> None:
    """Raises Refusal for the first thing in a body that `MessageCreateParams` does not know."""
    _body_check()(body)


@cache
def known_betas() -> frozenset[str]:
    """The values of `anthropic-beta` the SDK lists."""
    literal = next(arm for arm in typing.get_args(AnthropicBetaParam) if arm is not str)
    return frozenset(typing.get_args(literal))


@cache
def _body_check() -> Check:
    hints = typing_extensions.get_type_hints(MessageCreateParamsStreaming, include_extras=True)
    return _object_check({name: kind for name, kind in hints.items() if name not in _SENT_AS_HEADERS})


@cache
def _check(kind: Any) -> Check:
    """The check of one type, made once."""
    origin: Any = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if kind in (Any, object):
        return lambda value: None
    if kind in (str, int, float, bool, None, type(None)):
        return _scalar_check(kind)
    if typing_extensions.is_typeddict(kind):
        return _object_check(typing_extensions.get_type_hints(kind, include_extras=True))
    if origin is typing.Literal:
        return _choice_check(arguments)
    if origin is typing.Union or origin is types.UnionType:
        return _union_check(arguments)
    if origin in (dict, Mapping):
        return _instance_check(dict, "an object")
    if origin in (list, Iterable, AbstractSequence):
        return _list_check(_check(arguments[0]))
    raise TypeError(f"the SDK uses {kind!r}, which the strict server cannot check yet")


def _scalar_check(kind: type | None) -> Check:
    if kind in (None, type(None)):
        return _instance_check(type(None), "null")
    if kind is float:
        return _instance_check((int, float), "a number")
    if kind is int:
        return _whole_number
    assert kind is not None
    return _instance_check(kind, {str: "a valid string", bool: "a valid boolean"}[kind])


def _whole_number(value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refusal("Input should be a valid integer")


def _instance_check(kind: type | tuple[type, ...], words: str) -> Check:
    def check(value: Any) -> None:
        if not isinstance(value, kind):
            raise Refusal(f"Input should be {words}")

    return check


def _choice_check(choices: tuple[Any, ...]) -> Check:
    def check(value: Any) -> None:
        if not isinstance(value, str | int | bool | None) or value not in choices:
            raise Refusal("Input should be " + " or ".join(f"'{choice}'" for choice in choices))

    return check


def _list_check(item: Check) -> Check:
    def check(value: Any) -> None:
        if not isinstance(value, list):
            raise Refusal("Input should be a valid list")
        for place, entry in enumerate(value):
            try:
                item(entry)
            except Refusal as refusal:
                raise refusal.inside(place) from None

    return check


def _object_check(hints: Mapping[str, Any]) -> Check:
    fields: dict[str, Check] = {}
    required = set()
    for name, kind in hints.items():
        if typing.get_origin(kind) is typing.Required:
            required.add(name)
            (kind,) = typing.get_args(kind)
        fields[name] = _lazy(kind)

    def check(value: Any) -> None:
        if not isinstance(value, dict):
            raise Refusal("Input should be an object")
        for name, entry in value.items():
            if name not in fields:
                raise Refusal("Extra inputs are not permitted").inside(name)
            try:
                fields[name](entry)
            except Refusal as refusal:
                raise refusal.inside(name) from None
        if not required <= value.keys():
            raise Refusal("Field required").inside(min(required - value.keys()))

    return check


def _lazy(kind: Any) -> Check:
    """Types may hold themselves, so a field's check is made when it is first used."""
    return lambda value: _check(kind)(value)


def _union_check(arms: tuple[Any, ...]) -> Check:
    """Objects are told apart by `type` or `role`, everything else by trying."""
    tagged: dict[Any, Check] = {}
    others: list[Check] = []
    free: list[Check] = []
    for arm in arms:
        if _is_of_replies(arm) or _is_of_files(arm):
            continue
        tags = _tags(arm)
        for tag in tags:
            tagged[tag] = _check(arm)
        if not tags or None in tags:
            others.append(_check(arm))
        if typing.get_origin(arm) is dict:
            free.append(_check(arm))

    def check(value: Any) -> None:
        if isinstance(value, dict) and tagged:
            tag = value.get("type", value.get("role"))
            if isinstance(tag, str | None) and tag in tagged:
                # Beside a typed shape a union may hold any object, as the schema of a tool's input does.
                _any_of([tagged[tag], *free], value)
                return
            if not others:
                raise Refusal(f"Input tag {tag!r} does not match any of the expected tags")
        _any_of(others, value)

    return check


def _is_of_replies(arm: Any) -> bool:
    """The SDK also takes its own reply objects as history; on the wire they are no different from request blocks."""
    return typing.get_origin(arm) is typing.Annotated or (isinstance(arm, type) and issubclass(arm, BaseModel))


def _is_of_files(arm: Any) -> bool:
    """The SDK also takes open files and paths for base64 data; on the wire they are strings."""
    return (typing.get_origin(arm) or arm) in (typing.IO, os.PathLike)


def _any_of(checks: list[Check], value: Any) -> None:
    refusals = []
    for check in checks:
        try:
            check(value)
            return
        except Refusal as refusal:
            refusals.append(refusal)
    raise max(refusals, key=lambda refusal: len(refusal.path))


def _tags(arm: Any) -> set[Any]:
    """The values of the field that names an object's kind; None among them where the field may be left out."""
    if not typing_extensions.is_typeddict(arm):
        return set()
    hints = typing_extensions.get_type_hints(arm, include_extras=True)
    kind = hints.get("type", hints.get("role"))
    if kind is None:
        return set()
    origin: Any = typing.get_origin(kind)
    required = origin is typing.Required
    tags = _literals(kind)
    return tags if required else tags | {None}


def _literals(kind: Any) -> set[Any]:
    if typing.get_origin(kind) is typing.Literal:
        return set(typing.get_args(kind))
    return {literal for inner in typing.get_args(kind) for literal in _literals(inner)}
