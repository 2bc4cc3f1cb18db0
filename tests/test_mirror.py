"""Where a module's tests are: in the file of its name, or in one that is named here.

The list only gets shorter: a module of the package that comes new has a test file of its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "smime_graph"

# Modules that are tested through what uses them. Of those of the command line and of the emulator
# the verbs and requests are what has a contract, and a test asks for several modules at once.
ELSEWHERE = {
    "deadlines": "graph/test_deadline",
    "algorithms.rows": "algorithms/test_table",
    "authority.maker": "authority/test_family",
    "authority.recipes": "authority/test_family",
    "authority.variants": "authority/test_family",
    "batch.processes": "batch/test_run",
    "batch.work": "batch/test_run",
    "batch.worker": "batch/test_run",
    "cli.batch": "batch/test_journal",
    "cli.command": "cli/test_options",
    "cli.config": "cli/test_options",
    "cli.context": "cli/test_options",
    "cli.draft": "cli/test_graph",
    "cli.emulate": "cli/test_graph",
    "cli.fetch": "cli/test_graph",
    "cli.files": "cli/test_output",
    "cli.graph_client": "cli/test_graph",
    "cli.make": "cli/test_more_verbs",
    "cli.open": "cli/test_more_verbs",
    "cli.program": "cli/test_places",
    "cli.receipts": "cli/test_more_verbs",
    "cli.report": "cli/test_output",
    "cli.round_trip": "cli/test_graph",
    "cli.send": "cli/test_graph",
    "cli.sysexits": "cli/test_sendmail",
    "cli.terminal": "cli/test_output",
    "cli.verbs": "cli/test_options",
    "cms.attributes": "cms/test_signed_data",
    "cms.countersign": "smime/test_services",
    "cms.encrypted_data": "cms/test_recipients",
    "cms.keys": "pki/pkcs11/test_keys",
    "cms.labels": "smime/test_services",
    "cms.parameters": "cms/test_enveloped_data",
    "cms.receipt_request": "cms/test_ess",
    "cms.recipients.key_agreement": "cms/test_recipients",
    "cms.recipients.key_encapsulation": "cms/test_recipients",
    "cms.recipients.key_transport": "cms/test_recipients",
    "cms.recipients.kinds": "cms/test_toy_recipient",
    "cms.recipients.recipient_info": "cms/test_recipients",
    "cms.recipients.shared_secret": "cms/test_recipients",
    "cms.signature_check": "cms/test_signed_data",
    "cms.timestamp": "smime/test_services",
    "emulator.attachments": "emulator/test_handlers_attachments",
    "emulator.context": "emulator/test_live",
    "emulator.delivery": "emulator/test_bcc",
    "emulator.drafts": "emulator/test_handlers_update",
    "emulator.exchange": "emulator/test_any_bytes",
    "emulator.folders": "emulator/test_handlers_folders",
    "emulator.handlers_read": "emulator/test_live",
    "emulator.handlers_send": "emulator/test_live",
    "emulator.headers": "emulator/test_any_bytes",
    "emulator.json_message": "emulator/test_handlers_update",
    "emulator.metadata": "emulator/test_live",
    "emulator.mime": "emulator/test_bcc",
    "emulator.mime_writer": "emulator/test_seed_document",
    "emulator.records": "emulator/test_store",
    "emulator.refusal": "emulator/test_live",
    "emulator.request_body": "emulator/test_any_bytes",
    "emulator.resources": "emulator/test_live",
    "emulator.routes": "emulator/test_any_bytes",
    "emulator.schema": "emulator/test_store",
    "emulator.search": "emulator/test_query",
    "emulator.service": "emulator/test_live",
    "emulator.transport": "emulator/test_faults",
    "emulator.uploads": "emulator/test_handlers_uploads",
    "graph._courier": "graph/test_outbox",
    "graph._exchange": "graph/test_requests",
    "graph._flows": "graph/test_requests",
    "graph._mailbox": "graph/test_requests",
    "graph._outgoing": "graph/test_requests",
    "graph._queue": "graph/test_outbox",
    "graph._queue_rows": "graph/test_outbox",
    "graph._wire": "graph/test_answers",
    "graph.models": "graph/test_requests",
    "harness.forgeries.case": "harness/test_messages",
    "harness.forgeries.craft": "harness/test_messages",
    "harness.forgeries.encryption": "harness/test_messages",
    "harness.forgeries.good": "harness/test_messages",
    "harness.forgeries.headers": "harness/test_messages",
    "harness.forgeries.layers": "harness/test_messages",
    "harness.forgeries.senders": "harness/test_messages",
    "harness.forgeries.signatures": "harness/test_messages",
    "harness.forgeries.signers": "harness/test_messages",
    "loopback.exchange": "emulator/test_any_bytes",
    "harness.cases": "harness/test_matrix",
    "harness.peers.bouncycastle": "harness/test_peers",
    "harness.peers.gpgsm": "harness/test_peers",
    "harness.peers.gnutls": "harness/test_peers",
    "harness.peers.pyca": "harness/test_peers",
    "harness.peers.drive": "harness/test_peers",
    "harness.peers.find": "harness/test_peers",
    "harness.peers.nss": "harness/test_peers",
    "harness.peers.openssl": "harness/test_peers",
    "harness.peers.own": "harness/test_peers",
    "harness.peers.plugin": "harness/test_plugin",
    "harness.peers.peer": "harness/test_peers",
    "harness.profiles": "harness/test_fitness",
    "harness.rules": "harness/test_fitness",
    "harness.rules_authority": "harness/test_fitness",
    "harness.rules_extensions": "harness/test_fitness",
    "harness.rules_fields": "harness/test_fitness",
    "harness.rules_mail": "harness/test_fitness",
    "harness.rules_names": "harness/test_fitness",
    "pki.keyfiles.pbe": "pki/keyfiles/test_pkcs12",
    "pki.pkcs11.token": "pki/pkcs11/test_keys",
    "smime.attestations": "smime/test_services",
    "smime.context": "smime/test_parsed",
    "smime.ess_rules": "smime/test_services",
    "smime.fields": "smime/test_entity",
    "smime.layers": "smime/test_parsed",
    "smime.outgoing": "smime/test_wrap",
    "smime.recognition": "smime/test_errant",
    "smime.sealing": "smime/test_wrap",
    "smime.report": "smime/test_examine",
    "smime.verification": "smime/test_examine",
    "x509.certificate_set": "pki/keyfiles/test_read",
    "x509.price": "properties/test_work",
}


def module_files() -> dict[str, Path]:
    """Each module of the package, and the test file that has its name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        if not path.name.startswith("__"):
            place = path.relative_to(PACKAGE).with_suffix("")
            name = f"test_{place.name.removeprefix('_')}.py"
            found[".".join(place.parts)] = TESTS / place.parent / name
    return found


def test_every_module_has_a_test_file_of_its_name_or_is_in_the_list() -> None:
    missing = {name for name, path in module_files().items() if not path.exists()}
    assert missing - ELSEWHERE.keys() == set(), "write a test file for it"


def test_the_list_names_only_what_has_none() -> None:
    missing = {name for name, path in module_files().items() if not path.exists()}
    assert ELSEWHERE.keys() - missing == set(), "it has one now, or is gone: take it off the list"


@pytest.mark.parametrize("module", ELSEWHERE)
def test_what_is_tested_elsewhere_is_run_there(module: str) -> None:
    assert (TESTS / f"{ELSEWHERE[module]}.py").is_file()
