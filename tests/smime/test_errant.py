"""Layers that wrap a part and not the message: listed, openable alone, and good for nothing else.

RFC 9787 6.2: an errant layer never makes a message signed or encrypted, and what was decrypted is
never joined to what stood beside it.
"""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

import pytest

from smime_graph import (
    Contact,
    Identity,
    TrustStore,
    decrypt,
    encrypt,
    examine,
    inspect,
    oids,
    seal,
    sign,
    unseal,
    verify,
)
from smime_graph.asn1 import ber
from smime_graph.asn1.content_info import content_info
from smime_graph.authority.issue import CA
from smime_graph.cms import signed_data
from smime_graph.errors import (
    CertificateRejected,
    MalformedMessage,
    NoMatchingIdentity,
    SignatureInvalid,
    UsageError,
)
from smime_graph.findings import codes
from smime_graph.policy import EXCHANGE
from smime_graph.smime.canonical import encode_base64
from smime_graph.smime.entity import Entity
from smime_graph.smime.report import Layer
from smime_graph.smime.transfer import decode_base64
from smime_graph.smime.wrap import SIGNED, certs_only, pkcs7_mime
from tests.conftest import BARE

FROM = b"From: Alice <alice@contoso.com>\r\nTo: bob@contoso.com\r\n"
INNER = b"Content-Type: text/plain; charset=us-ascii\r\n\r\nthe figures\r\n"
FOOTER = b"Content-Type: text/plain\r\n\r\nlist footer\r\n"
CARELESS = BARE.but("careless", sender_must_match=False)


def part_of(message: bytes) -> bytes:
    """The MIME fields and the body."""
    return message[message.index(b"MIME-Version") :]


def mixed(*parts: bytes, boundary: bytes = b"m") -> bytes:
    body = b"".join(b"--" + boundary + b"\r\n" + one + b"\r\n" for one in parts)
    return (
        b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n" % boundary
        + body
        + b"--%b--\r\n" % boundary
    )


def attached(message: bytes) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" + message


def places(layers: tuple[Layer, ...]) -> list[tuple[str, str, bool]]:
    return [(one.type, one.path, one.errant) for one in layers]


@pytest.fixture
def clear(alice: Identity, message: bytes, now: datetime) -> bytes:
    return sign(message, signer=alice, at=now, policy=BARE)


@pytest.fixture
def opaque(alice: Identity, message: bytes, now: datetime) -> bytes:
    return sign(message, signer=alice, at=now, detached=False, policy=BARE)


@pytest.fixture
def encrypted(to_bob: Contact, message: bytes, now: datetime) -> bytes:
    return encrypt(message, recipients=[to_bob], at=now)


@pytest.fixture
def sealed(alice: Identity, to_bob: Contact, message: bytes, now: datetime) -> bytes:
    return seal(message, signer=alice, recipients=[to_bob], at=now, policy=BARE)


@pytest.mark.parametrize("form", ["clear", "opaque"])
def test_a_signed_part_is_listed_and_opened_alone(
    request: pytest.FixtureRequest, trust: TrustStore, now: datetime, form: str
) -> None:
    raw = FROM + mixed(part_of(request.getfixturevalue(form)), FOOTER)
    wanted = [("signed-data", "1.1", True)]
    assert places(inspect(raw)) == wanted
    report = examine(raw, trust=trust, at=now)
    assert places(report.layers) == wanted
    assert (report.whole, report.signers) == ((), ())
    assert (report.verdict, report.summary) == ("rejected", "unprotected")
    assert codes(report.findings) == ["smime.errant-layer", "smime.unsigned"]
    with pytest.raises(SignatureInvalid, match="as a whole") as caught:
        verify(raw, trust=trust, at=now)
    assert caught.value.hint is not None
    assert "part='1.1'" in caught.value.hint
    for read in (verify, unseal):
        opened = read(raw, trust=trust, at=now, part="1.1")
        assert opened.content == INNER
        assert opened.header == b""
        assert b"footer" not in opened.raw
        assert opened.signer is not None
        assert opened.signer.compared == "alice@contoso.com"
        assert codes(opened.findings) == ["smime.errant-layer"]
    report = examine(raw, trust=trust, at=now, part="1.1")
    assert report.accepted
    assert places(report.layers) == [("signed-data", "1.1", False)]


def test_an_encrypted_part_is_listed_and_opened_alone(
    encrypted: bytes, sealed: bytes, bob: Identity, trust: TrustStore, now: datetime
) -> None:
    raw = FROM + mixed(FOOTER, part_of(encrypted))
    assert places(inspect(raw)) == [("enveloped-data", "1.2", True)]
    report = examine(raw, identities=[bob], trust=trust, at=now)
    assert report.summary == "unprotected"
    with pytest.raises(MalformedMessage, match="not encrypted") as caught:
        decrypt(raw, identities=[bob])
    assert caught.value.hint is not None
    assert "part='1.2'" in caught.value.hint
    opened = decrypt(raw, identities=[bob], part="1.2")
    assert (opened.content, opened.header, opened.raw) == (INNER, b"", INNER)
    raw = FROM + mixed(FOOTER, part_of(sealed))
    opened = unseal(raw, identities=[bob], trust=trust, at=now, part="1.2")
    assert opened.content == INNER
    assert opened.report.summary == "signed-and-encrypted"
    assert [layer.path for layer in opened.layers] == ["1.2", "1.2.1"]
    with pytest.raises(NoMatchingIdentity):
        unseal(raw, trust=trust, at=now, part="1.2")


def test_layers_are_found_wherever_a_part_can_be(
    clear: bytes, opaque: bytes, encrypted: bytes, trust: TrustStore, now: datetime, bob: Identity
) -> None:
    p7m = (
        b"Content-Type: application/octet-stream; name=smime.p7m\r\n"
        b"Content-Disposition: attachment; filename=smime.p7m\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n"
        + encode_base64(bytes(Entity(opaque).decoded_body()))
    )
    packed = (
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + encode_base64(clear)
    )
    raw = FROM + mixed(
        FOOTER,
        attached(clear),
        mixed(
            p7m, attached(FROM + mixed(FOOTER, part_of(encrypted), boundary=b"o")), boundary=b"n"
        ),
        packed,
    )
    wanted = {
        "1.2.1": "signed-data",
        "1.3.1": "signed-data",
        "1.3.2.1.2": "enveloped-data",
        "1.4.1": "signed-data",
    }
    assert {one.path: one.type for one in inspect(raw)} == wanted
    assert examine(raw, trust=trust, at=now).summary == "unprotected"
    for path, kind in wanted.items():
        if kind == "signed-data":
            assert verify(raw, trust=trust, at=now, part=path).content == INNER
        else:
            assert decrypt(raw, identities=[bob], part=path).content == INNER
    assert verify(raw, trust=trust, at=now, part="1.2.1").message["Subject"] == "Figures"
    alone = b"From: eve@x.org\r\n" + attached(clear)
    assert places(inspect(alone)) == [("signed-data", "1.1", True)]
    assert verify(alone, trust=trust, at=now, part="1.1").signer is not None


def digest(*parts: bytes, boundary: bytes = b"d") -> bytes:
    return mixed(*parts, boundary=boundary).replace(b"mixed", b"digest", 1)


def test_a_part_of_a_digest_is_a_message_without_saying_so(
    clear: bytes,
    encrypted: bytes,
    alice: Identity,
    bob: Identity,
    mallory: Identity,
    trust: TrustStore,
    now: datetime,
) -> None:
    """RFC 2046 5.1.5: what names no type there is message/rfc822."""
    text = b"From: bob@contoso.com\r\nSubject: no layer\r\n\r\nhello\r\n"
    raw = FROM + digest(
        b"\r\n" + text,
        b"\r\n" + clear,
        b"Content-Description: x\r\n\r\n" + encrypted,
        b"Content-Type: text/plain\r\n\r\n" + clear,  # which says what it is
        digest(b"\r\n" + clear, boundary=b"e"),
    )
    wanted = [
        ("signed-data", "1.2.1", True),
        ("enveloped-data", "1.3.1", True),
        ("signed-data", "1.5.1.1", True),
    ]
    assert places(inspect(raw)) == wanted
    assert places(examine(raw, trust=trust, at=now).layers) == wanted
    assert decrypt(raw, identities=[bob], part="1.3.1").content == INNER
    opened = unseal(raw, trust=trust, at=now, part="1.2.1")
    assert opened.signer is not None
    assert opened.signer.compared == "alice@contoso.com"
    # and its From is that of the message in the digest
    signed = signed_data.sign(INNER, [mallory], detached=False, policy=EXCHANGE, at=now)[0]
    forged = FROM + pkcs7_mime(SIGNED, signed)
    raw = b"From: mallory@contoso.com\r\n" + digest(b"\r\n" + forged)
    with pytest.raises(CertificateRejected, match=r"from alice@contoso\.com"):
        unseal(raw, trust=trust, at=now, part="1.1.1")
    # below a signature it is found as well, and what is signed is the digest
    whole = FROM + pkcs7_mime(
        SIGNED,
        signed_data.sign(
            digest(b"\r\n" + forged), [alice], detached=False, policy=EXCHANGE, at=now
        )[0],
    )
    report = examine(whole, trust=trust, at=now)
    assert report.accepted
    assert places(report.layers)[1:] == [("signed-data", "1.1.1.1", True)]


def test_certificates_that_were_signed_are_the_content(
    alice: Identity, bob: Identity, mallory: Identity, trust: TrustStore, now: datetime
) -> None:
    """RFC 8551 3.8: a certs-only is signed by nobody; under a signature it is what was signed."""

    def signed(signer: Identity, content: bytes) -> bytes:
        der = signed_data.sign(content, [signer], detached=False, policy=EXCHANGE, at=now)[0]
        return pkcs7_mime(SIGNED, der)

    carried = certs_only([bob.certificate])
    opened = unseal(FROM + signed(alice, carried), trust=trust, at=now)
    assert opened.content == carried
    assert opened.findings == ()
    assert opened.report.summary == "signed"
    assert places(tuple(opened.layers)) == [
        ("signed-data", "1", False),
        ("certs-only", "1.1", False),
    ]
    # not under one of somebody else, and alone neither
    report = examine(FROM + signed(mallory, carried), trust=trust, at=now)
    assert codes(report.errors) == ["pki.address.mismatch"]
    assert codes(examine(FROM + carried, trust=trust, at=now).errors) == ["cms.signer.none"]
    # content without a signature is no certs-only
    inner = ber.sequence(ber.oid(oids.DATA), ber.context(0, ber.octet_string(INNER)))
    with_content = content_info(
        oids.SIGNED_DATA,
        [ber.integer(1), ber.set_of(), inner, ber.set_of()],
    )
    report = examine(FROM + signed(alice, pkcs7_mime(SIGNED, with_content)), trust=trust, at=now)
    assert codes(report.errors) == ["cms.signer.none"]


def test_layers_below_a_layer_are_found_too(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    clear: bytes,
    trust: TrustStore,
    now: datetime,
) -> None:
    message = FROM + mixed(FOOTER, part_of(clear))
    sealed = seal(message, signer=alice, recipients=[to_bob], at=now, policy=BARE)
    assert places(inspect(sealed)) == [("enveloped-data", "1", False)]
    report = examine(sealed, identities=[bob], trust=trust, at=now)
    assert places(report.layers) == [
        ("enveloped-data", "1", False),
        ("signed-data", "1.1", False),
        ("signed-data", "1.1.1.2", True),
    ]
    assert report.accepted
    opened = unseal(sealed, identities=[bob], trust=trust, at=now, part="1.1.1.2")
    assert opened.content == INNER
    with pytest.raises(NoMatchingIdentity):
        unseal(sealed, trust=trust, at=now, part="1.1.1.2")
    inside = sign(clear, signer=alice, at=now, policy=BARE)
    assert verify(inside, trust=trust, at=now, part="1.1").content == INNER
    raw = FROM + mixed(
        part_of(sign(FROM + mixed(part_of(clear)), signer=alice, at=now, policy=BARE)),
        boundary=b"o",
    )
    assert [one.path for one in inspect(raw)] == ["1.1", "1.1.1.1"]


@pytest.mark.parametrize("form", ["part", "message"])
def test_the_sender_of_a_part_is_that_of_the_message_around_it(
    mallory: Identity, message: bytes, trust: TrustStore, now: datetime, form: str
) -> None:
    by_mallory = sign(message, signer=mallory, at=now, policy=CARELESS)
    own = by_mallory.replace(b"Alice <alice@contoso.com>", b"mallory@contoso.com")
    if form == "part":
        paths = {"1.1": part_of(by_mallory), "1.2": b"From: mallory@contoso.com\r\n" + part_of(own)}
        raw = FROM + mixed(*paths.values())
    else:
        paths = {"1.1.1": by_mallory}
        raw = b"From: mallory@contoso.com\r\n" + mixed(attached(by_mallory))
    for path in paths:
        with pytest.raises(CertificateRejected, match="alice"):
            verify(raw, trust=trust, at=now, part=path)
        assert verify(raw, trust=trust, at=now, part=path, sender="mallory@contoso.com").signer
    quoted = FROM + mixed(attached(own))
    assert verify(quoted, trust=trust, at=now, part="1.1.1").signer is not None
    nobody = b"Subject: x\r\n" + mixed(part_of(by_mallory))
    with pytest.raises(CertificateRejected, match="no From"):
        verify(nobody, trust=trust, at=now, part="1.1")


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("form", ["text", "der"])
def test_an_attached_message_without_a_from_is_from_whom_the_message_around_it_is(
    mallory: Identity,
    alice: Identity,
    message: bytes,
    trust: TrustStore,
    now: datetime,
    depth: int,
    form: str,
) -> None:
    """A part may have no From, a message has one (RFC 5322 3.6)."""

    def signed(who: Identity) -> bytes:
        made = part_of(sign(message, signer=who, detached=False, at=now, policy=CARELESS))
        der = bytes(decode_base64(Entity(made).body)) if form == "der" else made
        for _ in range(depth):
            der = attached(der)
        return FROM + mixed(FOOTER, der)

    path = "1.2" + ".1" * depth
    with pytest.raises(CertificateRejected, match="the message is from alice"):
        verify(signed(mallory), trust=trust, at=now, part=path)
    assert verify(signed(alice), trust=trust, at=now, part=path).signer is not None


def test_the_from_in_a_layer_around_a_part_counts_as_well(
    mallory: Identity, alice: Identity, message: bytes, trust: TrustStore, now: datetime
) -> None:
    """RFC 9788 4.4: readers may show that one as the From of the message around the part."""
    part = part_of(sign(message, signer=mallory, at=now, policy=CARELESS))
    outside = b"From: mallory@contoso.com\r\n"

    def by_alice(content: bytes) -> bytes:
        der, _ = signed_data.sign(content, [alice], detached=False, policy=EXCHANGE, at=now)
        return pkcs7_mime(SIGNED, der)

    for inside, accepted in ((FROM, False), (outside, True), (b"", True)):
        raw = outside + by_alice(inside + mixed(FOOTER, part))
        [path] = [one.path for one in inspect(raw) if one.errant]
        report = examine(raw, trust=trust, at=now, part=path)
        assert report.accepted is accepted
        assert report.has("pki.address.mismatch") is not accepted
    # but not that around a message attached, which has its own
    raw = outside + by_alice(FROM + mixed(FOOTER, attached(outside + part)))
    [path] = [one.path for one in inspect(raw) if one.errant]
    assert examine(raw, trust=trust, at=now, part=path).accepted


FOOTER_TEXT = "as mailing lists do"
PREFACE = b"Content-Type: text/plain\r\nContent-Disposition: inline\r\n\r\nThe list\r\n"


@pytest.mark.parametrize("form", ["clear", "opaque", "encrypted", "sealed"])
@pytest.mark.parametrize(
    ("before", "after"),
    [((), (FOOTER,)), ((PREFACE,), ()), ((PREFACE,), (FOOTER,)), ((), (b"\r\nfooter\r\n", FOOTER))],
)
def test_the_footer_of_a_mailing_list_is_told_from_other_parts(
    request: pytest.FixtureRequest,
    trust: TrustStore,
    now: datetime,
    bob: Identity,
    form: str,
    before: tuple[bytes, ...],
    after: tuple[bytes, ...],
) -> None:
    raw = FROM + mixed(*before, part_of(request.getfixturevalue(form)), *after)
    path = f"1.{len(before) + 1}"
    [layer] = inspect(raw)
    assert (layer.path, layer.errant, layer.has_list_footer) == (path, True, True)
    report = examine(raw, identities=[bob], trust=trust, at=now)
    assert (report.verdict, report.summary, report.authenticated) == (
        "rejected",
        "unprotected",
        False,
    )
    assert report.layers == (layer,)
    assert report.signers == ()
    assert FOOTER_TEXT in report.findings[0].text
    assert json.loads(report.to_json())["layers"][0]["list_footer"] is True
    with pytest.raises(SignatureInvalid) as caught:
        unseal(raw, identities=[bob], trust=trust, at=now)
    assert caught.value.hint is not None
    assert FOOTER_TEXT in caught.value.hint
    assert f"part='{path}'" in caught.value.hint
    alone = examine(raw, identities=[bob], trust=trust, at=now, part=path)
    assert not any(one.errant or one.has_list_footer for one in alone.layers)
    assert alone.accepted is (form != "encrypted")


def test_what_no_mailing_list_makes_has_no_footer(
    clear: bytes, opaque: bytes, alice: Identity, trust: TrustStore, now: datetime
) -> None:
    part = part_of(clear)
    html = b"Content-Type: text/html\r\n\r\n<p>footer</p>\r\n"
    file = b"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nfooter\r\n"
    others = {
        "alone": mixed(part),
        "html": mixed(part, html),
        "html and text": mixed(part, FOOTER, html),
        "a file": mixed(part, file),
        "two layers": mixed(part, part_of(opaque), FOOTER),
        "certificates": mixed(certs_only([alice.certificate]), FOOTER),
        "many texts": mixed(part, *[FOOTER] * 20),
        "alternatives": mixed(part, FOOTER).replace(b"/mixed", b"/alternative", 1),
        "further in": mixed(mixed(part, FOOTER, boundary=b"i"), FOOTER),
        "attached": mixed(attached(clear), FOOTER),
    }
    for name, raw in others.items():
        report = examine(FROM + raw, trust=trust, at=now)
        assert not report.accepted, name
        assert report.layers, name
        assert not any(one.has_list_footer for one in report.layers), name
        assert not any(FOOTER_TEXT in one.text for one in report.findings), name


@pytest.mark.parametrize(
    "path",
    ["", "0", "1", "1.2", "1.3", "1.1.2", "2.1", "1.0", "1.-1", "1.1 ", "1..1", "\u0661.\u0661"]
    + ["1" + ".1" * 60, "1.99999", "1." + "9" * 5000, "1.1.1.1"],
)
def test_what_is_no_layer_cannot_be_opened(
    clear: bytes, bob: Identity, trust: TrustStore, now: datetime, path: str
) -> None:
    raw = FROM + mixed(part_of(clear), FOOTER)
    reads: list[Any] = [
        lambda: verify(raw, trust=trust, at=now, part=path),
        lambda: decrypt(raw, identities=[bob], part=path),
        lambda: unseal(raw, trust=trust, at=now, part=path),
        lambda: examine(raw, trust=trust, at=now, part=path),
    ]
    for read in reads:
        with pytest.raises(UsageError, match="no S/MIME layer") as caught:
            read()
        assert caught.value.hint


def test_a_part_that_cannot_be_read_is_noticed(trust: TrustStore, now: datetime) -> None:
    broken = b"Content-Type: application/pkcs7-mime\r\n\r\nMIIB"
    report = examine(FROM + mixed(broken, FOOTER), trust=trust, at=now)
    assert report.layers == ()
    assert codes(report.findings) == ["smime.errant-layer", "smime.unsigned"]
    assert "cannot be read" in report.findings[0].text


def test_parts_are_bounded_in_number_and_depth(
    opaque: bytes, trust: TrustStore, now: datetime
) -> None:
    small = part_of(opaque)
    many = FROM + mixed(*[small] * 50)
    nested = small
    for number in range(30):
        nested = mixed(nested, boundary=b"n%d" % number)
    wide = FROM + mixed(*[FOOTER] * 9000, small)
    begin = time.process_time()
    for raw, listed in ((many, 20), (FROM + nested, 0), (wide, 0)):
        assert len(inspect(raw)) == listed
        report = examine(raw, trust=trust, at=now)
        assert len(report.layers) == listed
        assert "more parts than" in report.findings[-2].text
    assert time.process_time() - begin < 4
    assert verify(many, trust=trust, at=now, part="1.50").content == INNER
    assert verify(FROM + nested, trust=trust, at=now, part="1" + ".1" * 30).content == INNER


def test_certificates_of_a_part_are_not_those_of_the_message(
    ca: CA, clear: bytes, trust: TrustStore, now: datetime
) -> None:
    report = examine(FROM + mixed(part_of(clear)), trust=trust, at=now)
    assert report.whole == ()
    assert report.layers[0].certificates
