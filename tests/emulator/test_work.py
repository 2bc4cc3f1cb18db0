"""What a send costs the emulator: in calls of functions and in statements, which no load moves."""

from __future__ import annotations

import base64
from itertools import count, groupby

from smime_graph.emulator import Emulator, Request

from ..work import calls_of

HEADER = (
    b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nSubject: The figures\r\n"
    b"Date: Fri, 27 Nov 2026 06:41:00 +0000\r\nMessage-ID: <%d@contoso.com>\r\n"
    b"MIME-Version: 1.0\r\n"
    b'Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"\r\n'
    b'Content-Disposition: attachment; filename="smime.p7m"\r\n\r\n'
)
FIELDS = (("Content-Type", "text/plain"), ("Authorization", "Bearer x"), ("Prefer", "x"))


def send(emulator: Emulator, number: int) -> None:
    body = base64.b64encode(HEADER % number + b"A" * 10_000)
    done = emulator.exchange(Request("POST", "/v1.0/me/sendMail", FIELDS, body))
    assert done.response is not None
    assert done.response.status == 202


def test_a_send_takes_few_calls(emulator: Emulator) -> None:
    number = count()
    assert calls_of(lambda: send(emulator, next(number)), of=("call",)) < 190


def test_a_send_takes_one_transaction_of_few_statements(emulator: Emulator) -> None:
    send(emulator, 1)
    seen: list[str] = []
    emulator._store._db.set_trace_callback(seen.append)
    send(emulator, 2)
    emulator._store._db.set_trace_callback(None)
    kinds = [one.split()[0] for one, _ in groupby(seen)]  # each of a trigger's names the whole
    assert (kinds[0], kinds[-1]) == ("BEGIN", "COMMIT")
    assert kinds.count("COMMIT") == 1
    assert len(kinds) <= 9
