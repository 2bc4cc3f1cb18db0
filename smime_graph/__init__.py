"""Sign and encrypt mail (S/MIME 4.0) and submit it through Microsoft Graph.

    from smime_graph import Contact, GraphClient, Identity, TrustStore, seal, unseal

    alice = Identity.load("alice.p12", password=password)
    sealed = seal(message, signer=alice, recipients=[Contact.load("bob.pem")])
    with GraphClient(token) as graph:
        graph.send(sealed)

    roots = TrustStore.load("roots.pem")
    opened = unseal(graph.fetch(message_id), identities=[bob], trust=roots)

Every name below is loaded when it is first used (PEP 562), so that importing the package costs
nothing and a program that only signs never imports an HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .authority.issue import CA as CA
    from .authority.records import RevocationReason as RevocationReason
    from .batch.jobs import Job as Job
    from .batch.jobs import JobVerb as JobVerb
    from .batch.jobs import KeyFile as KeyFile
    from .batch.jobs import Outcome as Outcome
    from .batch.run import encrypt_many_anew as encrypt_many_anew
    from .batch.run import seal_many as seal_many
    from .batch.run import unseal_many as unseal_many
    from .buffers import Readable as Readable
    from .buffers import Writable as Writable
    from .cms.ess import Confirmation as Confirmation
    from .cms.ess import ContentHints as ContentHints
    from .cms.ess import ContentReference as ContentReference
    from .cms.ess import Expansion as Expansion
    from .cms.ess import ListPolicy as ListPolicy
    from .cms.ess import Receipt as Receipt
    from .cms.ess import Services as Services
    from .cms.keys import DecryptionKey as DecryptionKey
    from .cms.keys import Recipient as Recipient
    from .cms.keys import SigningKey as SigningKey
    from .cms.labels import SecurityCategory as SecurityCategory
    from .cms.labels import SecurityLabel as SecurityLabel
    from .cms.receipt_request import ReceiptRequest as ReceiptRequest
    from .cms.recipients.kinds import AnyKey as AnyKey
    from .cms.recipients.kinds import AnyRecipient as AnyRecipient
    from .cms.recipients.shared_secret import Password as Password
    from .cms.recipients.shared_secret import SharedKey as SharedKey
    from .errors import CertificateRejected as CertificateRejected
    from .errors import DecryptionFailed as DecryptionFailed
    from .errors import Disposition as Disposition
    from .errors import GraphError as GraphError
    from .errors import GraphRefused as GraphRefused
    from .errors import GraphThrottled as GraphThrottled
    from .errors import GraphUnreachable as GraphUnreachable
    from .errors import LimitReached as LimitReached
    from .errors import MalformedMessage as MalformedMessage
    from .errors import NoMatchingIdentity as NoMatchingIdentity
    from .errors import PolicyRefusal as PolicyRefusal
    from .errors import SignatureInvalid as SignatureInvalid
    from .errors import SmimeGraphError as SmimeGraphError
    from .errors import StoreUnavailable as StoreUnavailable
    from .errors import UnsupportedAlgorithm as UnsupportedAlgorithm
    from .errors import UsageError as UsageError
    from .errors import VerificationFailed as VerificationFailed
    from .findings import Finding as Finding
    from .findings import Report as Report
    from .findings import Severity as Severity
    from .graph import AsyncGraphClient as AsyncGraphClient
    from .graph import DeltaPage as DeltaPage
    from .graph import Folder as Folder
    from .graph import GraphClient as GraphClient
    from .graph import GraphLimits as GraphLimits
    from .graph import MailboxContact as MailboxContact
    from .graph import MessageRef as MessageRef
    from .graph import Outbox as Outbox
    from .graph import OutboxAttempt as OutboxAttempt
    from .graph import OutboxMessage as OutboxMessage
    from .graph import OutboxRun as OutboxRun
    from .graph import Page as Page
    from .graph import StoredMessage as StoredMessage
    from .graph import send_by_smtp as send_by_smtp
    from .graph import send_by_smtp_async as send_by_smtp_async
    from .graph._mailbox import Cloud as Cloud
    from .graph._mailbox import Wire as Wire
    from .graph._outgoing import Via as Via
    from .graph._queue_rows import OutboxAction as OutboxAction
    from .graph._queue_rows import OutboxState as OutboxState
    from .graph.auth import AccessToken as AccessToken
    from .graph.auth import AsyncTokenCredential as AsyncTokenCredential
    from .graph.auth import Credential as Credential
    from .graph.auth import TokenCredential as TokenCredential
    from .graph.models import Status as Status
    from .harness.audit import AddressAudit as AddressAudit
    from .harness.audit import AuditState as AuditState
    from .harness.audit import OutlookChoice as OutlookChoice
    from .harness.audit import StoreAudit as StoreAudit
    from .harness.audit import audit_contacts as audit_contacts
    from .harness.fitness import FitnessFinding as FitnessFinding
    from .harness.fitness import FitnessReport as FitnessReport
    from .harness.fitness import FitnessUse as FitnessUse
    from .harness.fitness import FitnessVerdict as FitnessVerdict
    from .harness.fitness import check_certificate as check_certificate
    from .harness.fitness import check_crl as check_crl
    from .harness.fitness import check_ocsp as check_ocsp
    from .harness.profiles import FitnessProfile as FitnessProfile
    from .harness.rules import FitnessRule as FitnessRule
    from .online.fetcher import Fetcher as Fetcher
    from .pki.contacts import Announcement as Announcement
    from .pki.contacts import ContactChoice as ContactChoice
    from .pki.contacts import Contacts as Contacts
    from .pki.contacts import DroppedCertificate as DroppedCertificate
    from .pki.contacts import KnownCertificate as KnownCertificate
    from .pki.identity import Contact as Contact
    from .pki.identity import Identity as Identity
    from .pki.identity import load_identities as load_identities
    from .pki.keyfiles.pbe import WrongPassword as WrongPassword
    from .pki.revocation import Evidence as Evidence
    from .pki.revocation import EvidenceSource as EvidenceSource
    from .pki.revocation import Inquiry as Inquiry
    from .pki.revocation import Revocation as Revocation
    from .pki.revocation import RevocationMode as RevocationMode
    from .pki.trust import TrustStore as TrustStore
    from .policy import ARCHIVE as ARCHIVE
    from .policy import EXCHANGE as EXCHANGE
    from .policy import POLICIES as POLICIES
    from .policy import POST_QUANTUM as POST_QUANTUM
    from .policy import RFC_8551 as RFC_8551
    from .policy import Policy as Policy
    from .smime.answer import answer as answer
    from .smime.answer import reference_hcp as reference_hcp
    from .smime.answering import seal_answer as seal_answer
    from .smime.attachments import Attachment as Attachment
    from .smime.bcc import SealedCopy as SealedCopy
    from .smime.context import Clearance as Clearance
    from .smime.entity import HeaderField as HeaderField
    from .smime.examine import decompress as decompress
    from .smime.examine import decrypt as decrypt
    from .smime.examine import examine as examine
    from .smime.examine import inspect as inspect
    from .smime.examine import unseal as unseal
    from .smime.examine import verify as verify
    from .smime.harvest import harvest as harvest
    from .smime.harvest import harvest_outlook as harvest_outlook
    from .smime.harvest import signer_contact as signer_contact
    from .smime.header_confidentiality import HeaderConfidentiality as HeaderConfidentiality
    from .smime.header_confidentiality import HeaderConfidentialityName as HeaderConfidentialityName
    from .smime.header_protection import FieldProtection as FieldProtection
    from .smime.header_protection import FieldState as FieldState
    from .smime.header_protection import HeaderProtection as HeaderProtection
    from .smime.header_protection import HeaderProtectionForm as HeaderProtectionForm
    from .smime.header_protection import ProtectedHeader as ProtectedHeader
    from .smime.receipts import ReceiptReport as ReceiptReport
    from .smime.receipts import examine_receipt as examine_receipt
    from .smime.receipts import receipt as receipt
    from .smime.receipts import receipt_recipients as receipt_recipients
    from .smime.receipts import verify_receipt as verify_receipt
    from .smime.report import ComparedHeader as ComparedHeader
    from .smime.report import Countersigner as Countersigner
    from .smime.report import Layer as Layer
    from .smime.report import LayerRecipient as LayerRecipient
    from .smime.report import LayerSigner as LayerSigner
    from .smime.report import LayerType as LayerType
    from .smime.report import MessageReport as MessageReport
    from .smime.report import Opened as Opened
    from .smime.report import Signer as Signer
    from .smime.report import Summary as Summary
    from .smime.report import Timestamp as Timestamp
    from .smime.sealing import encrypt as encrypt
    from .smime.sealing import seal as seal
    from .smime.sealing import seal_copies as seal_copies
    from .smime.wrap import certs_only as certs_only
    from .smime.wrap import compress as compress
    from .smime.wrap import sign as sign
    from .submission.preflight import SubmissionAction as SubmissionAction
    from .submission.preflight import SubmissionRecipient as SubmissionRecipient
    from .submission.preflight import SubmissionReport as SubmissionReport
    from .submission.preflight import SubmissionSize as SubmissionSize
    from .submission.preflight import check_submission as check_submission
    from .submission.round_trip import ChangeKind as ChangeKind
    from .submission.round_trip import Difference as Difference
    from .submission.round_trip import RoundTrip as RoundTrip
    from .submission.round_trip import round_trip as round_trip
    from .submission.round_trip import round_trip_async as round_trip_async
    from .submission.watch import Arrival as Arrival
    from .submission.watch import WatchRun as WatchRun
    from .submission.watch import watch as watch
    from .submission.watch import watch_async as watch_async
    from .submission.watched import HandedBefore as HandedBefore
    from .x509.certificate import Certificate as Certificate

_HOME = {
    ".batch.jobs": ("Job", "JobVerb", "KeyFile", "Outcome"),
    ".batch.run": ("encrypt_many_anew", "seal_many", "unseal_many"),
    ".authority.issue": ("CA",),
    ".authority.records": ("RevocationReason",),
    ".buffers": ("Readable", "Writable"),
    ".cms.ess": (
        "Confirmation",
        "ContentHints",
        "ContentReference",
        "Expansion",
        "ListPolicy",
        "Receipt",
        "Services",
    ),
    ".cms.keys": ("DecryptionKey", "Recipient", "SigningKey"),
    ".cms.labels": ("SecurityCategory", "SecurityLabel"),
    ".cms.receipt_request": ("ReceiptRequest",),
    ".cms.recipients.kinds": ("AnyKey", "AnyRecipient"),
    ".cms.recipients.shared_secret": ("Password", "SharedKey"),
    ".errors": (
        "CertificateRejected",
        "DecryptionFailed",
        "Disposition",
        "GraphError",
        "GraphRefused",
        "GraphThrottled",
        "GraphUnreachable",
        "LimitReached",
        "MalformedMessage",
        "NoMatchingIdentity",
        "PolicyRefusal",
        "SignatureInvalid",
        "SmimeGraphError",
        "UnsupportedAlgorithm",
        "StoreUnavailable",
        "UsageError",
        "VerificationFailed",
    ),
    ".findings": ("Finding", "Report", "Severity"),
    ".graph": (
        "AsyncGraphClient",
        "DeltaPage",
        "Folder",
        "GraphClient",
        "GraphLimits",
        "MailboxContact",
        "MessageRef",
        "Outbox",
        "OutboxAttempt",
        "OutboxMessage",
        "OutboxRun",
        "Page",
        "StoredMessage",
        "send_by_smtp",
        "send_by_smtp_async",
    ),
    ".graph._outgoing": ("Via",),
    ".graph._queue_rows": ("OutboxAction", "OutboxState"),
    ".graph._mailbox": ("Cloud", "Wire"),
    ".graph.auth": ("AccessToken", "AsyncTokenCredential", "Credential", "TokenCredential"),
    ".graph.models": ("Status",),
    ".pki.contacts": (
        "Announcement",
        "ContactChoice",
        "Contacts",
        "DroppedCertificate",
        "KnownCertificate",
    ),
    ".harness.audit": (
        "AddressAudit",
        "AuditState",
        "OutlookChoice",
        "StoreAudit",
        "audit_contacts",
    ),
    ".harness.fitness": (
        "FitnessFinding",
        "FitnessReport",
        "FitnessUse",
        "FitnessVerdict",
        "check_certificate",
        "check_crl",
        "check_ocsp",
    ),
    ".harness.profiles": ("FitnessProfile",),
    ".harness.rules": ("FitnessRule",),
    ".online.fetcher": ("Fetcher",),
    ".pki.identity": ("Contact", "Identity", "load_identities"),
    ".pki.keyfiles.pbe": ("WrongPassword",),
    ".pki.revocation": (
        "Evidence",
        "EvidenceSource",
        "Inquiry",
        "Revocation",
        "RevocationMode",
    ),
    ".pki.trust": ("TrustStore",),
    ".policy": ("ARCHIVE", "EXCHANGE", "POLICIES", "POST_QUANTUM", "Policy", "RFC_8551"),
    ".smime.answer": ("answer", "reference_hcp"),
    ".smime.answering": ("seal_answer",),
    ".smime.attachments": ("Attachment",),
    ".smime.bcc": ("SealedCopy",),
    ".smime.context": ("Clearance",),
    ".smime.examine": ("decompress", "decrypt", "examine", "inspect", "unseal", "verify"),
    ".smime.entity": ("HeaderField",),
    ".smime.harvest": ("harvest", "harvest_outlook", "signer_contact"),
    ".smime.header_confidentiality": ("HeaderConfidentiality", "HeaderConfidentialityName"),
    ".smime.header_protection": (
        "FieldProtection",
        "FieldState",
        "HeaderProtection",
        "HeaderProtectionForm",
        "ProtectedHeader",
    ),
    ".smime.receipts": (
        "ReceiptReport",
        "examine_receipt",
        "receipt",
        "receipt_recipients",
        "verify_receipt",
    ),
    ".smime.report": (
        "ComparedHeader",
        "Countersigner",
        "Layer",
        "LayerRecipient",
        "LayerSigner",
        "LayerType",
        "MessageReport",
        "Opened",
        "Signer",
        "Summary",
        "Timestamp",
    ),
    ".smime.sealing": ("encrypt", "seal", "seal_copies"),
    ".smime.wrap": ("certs_only", "compress", "sign"),
    ".submission.round_trip": (
        "ChangeKind",
        "Difference",
        "RoundTrip",
        "round_trip",
        "round_trip_async",
    ),
    ".submission.preflight": (
        "SubmissionAction",
        "SubmissionRecipient",
        "SubmissionReport",
        "SubmissionSize",
        "check_submission",
    ),
    ".submission.watch": ("Arrival", "WatchRun", "watch", "watch_async"),
    ".submission.watched": ("HandedBefore",),
    ".x509.certificate": ("Certificate",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [  # computed, so that it cannot drift
    "__version__",
    *sorted(_MODULE_OF),
]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(module, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
