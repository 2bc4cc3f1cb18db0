"""What a finding is about is told by a field, so that nothing hangs on its words."""

from __future__ import annotations

from smime_graph import CA, examine, sign

MESSAGE = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\n\r\nhello\r\n"


def test_a_finding_of_a_signer_names_that_signer() -> None:
    ca, other = CA("Root", key="p256"), CA("Another", key="p256")
    alice = ca.issue("alice@contoso.com", key="p256")
    stranger = other.issue("alice@contoso.com", key="p256")
    report = examine(sign(MESSAGE, signer=[alice, stranger]), trust=ca.trust)
    believed = {one.where: one.accepted for one in report.signers}
    assert sorted(believed.values()) == [False, True]
    [unbelieved] = [where for where, accepted in believed.items() if not accepted]
    paths = [item for item in report.findings if item.code.startswith("pki.path.")]
    assert paths
    assert {item.scope for item in paths} == {unbelieved}
    assert all(item.where.startswith(f"{unbelieved}, ") for item in paths)


def test_what_is_of_the_message_is_of_no_signer() -> None:
    ca = CA("Root", key="p256")
    report = examine(MESSAGE, trust=ca.trust)
    assert [(item.code, item.scope) for item in report.findings] == [("smime.unsigned", "")]
