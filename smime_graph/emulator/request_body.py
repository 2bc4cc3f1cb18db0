"""What a request body is: JSON or MIME, which profile takes which, and how each refuses."""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

import pybase64

from . import metadata
from .context import Call
from .headers import UnusableMime
from .json_message import lower_keys
from .mime import Summary, summarise
from .refusal import Refusal


def body_kind(call: Call, *, optional: bool = False) -> Literal["json", "mime", "none"]:
    if len(call.request.body) > call.rules.request_limit:
        raise Refusal(413, "BadRequest", "The maximum request length supported is 4MB.")
    if optional and not call.request.body:
        return "none"
    media_type = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        return "json"
    if media_type == "text/plain":
        return "mime"
    raise Refusal(
        415,
        "RequestBodyRead",
        "A supported MIME type could not be found that matches the content type of the response.",
    )


def bad_mime(call: Call) -> Refusal:
    if call.design:
        return Refusal(
            400,
            "ErrorMimeContentInvalid",  # the document gives a text only
            "MIME content does not contain all required information, malformed formatting, or "
            "empty.",
        )
    # What decodes and is no message falls under the same error: nothing else is documented.
    return Refusal(
        400, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content."
    )


def read_mime(call: Call, text: bytes, *, raw_allowed: bool) -> tuple[bytes, Summary]:
    """The message in a body or parameter: base64 with any white space (the samples wrap it), or
    raw.
    """
    candidates = []
    with suppress(binascii.Error):
        candidates.append(_decoded(text))
    if raw_allowed:  # no confusion: every header field has a colon, which is not in the alphabet
        candidates.append(text)
    for candidate in candidates:
        try:
            return candidate, summarise(candidate)
        except UnusableMime:
            continue
    raise bad_mime(call)


def _decoded(text: bytes) -> bytes:
    try:
        return pybase64.b64decode(text, validate=True)
    except binascii.Error:
        return pybase64.b64decode(text.translate(None, b" \t\r\n"), validate=True)


def json_body(call: Call) -> dict[str, Any]:
    try:
        value = json.loads(call.request.body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refusal(400, "UnableToDeserializePostBody", "were unable to deserialize ")
    return value


def read_parameters(call: Call, action: str) -> dict[str, Any]:
    parameters = {
        name: value
        for name, value in lower_keys(json_body(call), "request").items()
        if value is not None
    }
    if action == "sendmail" and not call.design and "message" not in parameters:
        raise Refusal(
            400, "ErrorInvalidParameter", "The value of the parameter 'Message' is empty."
        )
    for name in parameters.keys() - metadata.action_parameters(action, mime_content=call.design):
        # General knowledge: the text of the OData library.
        raise Refusal(
            400,
            "RequestBodyRead",
            f"The parameter '{name[:60]}' in the request payload is not a valid parameter for "
            f"the operation "
            f"'{action}'.",
        )
    if "message" in parameters and "mimecontent" in parameters:
        raise Refusal(
            400,
            "ErrorInvalidParameter",  # the document gives a text only
            "Both message object and MIME content cannot be specified because they contain "
            "duplicate "
            "properties. Specify either 'MimeContent' or 'Message' in request body.",
        )
    return parameters


def mime_parameter(call: Call, parameters: Mapping[str, Any]) -> tuple[bytes, Summary] | None:
    if "mimecontent" not in parameters:
        return None
    value = parameters["mimecontent"]
    if not isinstance(value, str):
        raise bad_mime(call)
    return read_mime(call, value.encode("utf-8", "replace"), raw_allowed=False)


def save_parameter(parameters: Mapping[str, Any]) -> bool:
    value = parameters.get("savetosentitems", True)
    if isinstance(value, str) and value.lower() in (
        "true",
        "false",
    ):  # so in the document's example
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise Refusal(
            400,
            "ErrorInvalidParameter",
            "The value of the parameter 'SaveToSentItems' is not valid.",
        )
    return value
