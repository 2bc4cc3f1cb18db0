"""The exit statuses of sysexits.h, which those who call sendmail understand."""

from __future__ import annotations

import click

from ..errors import (
    GraphError,
    GraphRefused,
    GraphThrottled,
    GraphUnreachable,
    SmimeGraphError,
    StoreUnavailable,
    UsageError,
)
from .config import ConfigurationError

_USAGE, _DATA, _OURS, _AGAIN, _PERMISSION, _CONFIGURATION = 64, 65, 70, 75, 77, 78

STATUS_TEXT = (
    "Exit status (sysexits.h): 0 sent, or stored in the outbox; 64 usage; 65 the message or a"
    " certificate; 70 a bug of ours, or nobody knows whether it was sent; 75 not sent, try again;"
    " 77 no permission; 78 the configuration, or nobody to sign with; 130 interrupted."
)


def status_of(error: BaseException) -> int:
    """The exit status by sysexits.h. 75 invites a repetition, so it is for what was not sent."""
    from ..pki.identity import WrongPassword

    if isinstance(error, WrongPassword) or isinstance(error.__cause__, PermissionError):
        return _PERMISSION
    if isinstance(error, ConfigurationError):
        return _CONFIGURATION
    if isinstance(error, SmimeGraphError) and error.disposition == "unknown":
        return _OURS
    if isinstance(error, StoreUnavailable):
        return _AGAIN
    if isinstance(error, (UsageError, click.ClickException)):
        return _USAGE
    if isinstance(error, (GraphThrottled, GraphUnreachable)):
        return _AGAIN
    if isinstance(error, GraphRefused):
        if error.status in (401, 403):
            return _PERMISSION
        return _AGAIN if error.status in (408, 429) or error.status >= 500 else _DATA
    if isinstance(error, GraphError):
        if error.disposition == "refused":
            return _DATA
        return _PERMISSION  # the credential gave no token
    return _DATA if isinstance(error, SmimeGraphError) else _OURS
