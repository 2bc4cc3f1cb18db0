"""What the user believes: trust anchors, and certificates to build paths with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field
from hashlib import sha256
from os import PathLike

from ..arguments import check_fields, checked, file_name
from ..errors import UsageError
from ..x509.certificate import Certificate
from .keyfiles.read import Source, files_of, is_folder, read_certificates

_MAX_FILE = 16 * 1024 * 1024  # the largest public bundles of roots are under 1 MB
_MAX_ANCHORS = 100_000


@dataclass(frozen=True, slots=True)
class TrustStore:
    """The roots you believe, and further certificates that may stand between them and a person's.

    An anchor is believed as it is: its own signature is not checked, and it may be an intermediate
    authority or one person's certificate, which vouches for itself alone. `certificates` are not
    believed, only used to build paths. Nothing is ever taken from the operating system, and nothing
    is fetched. Revocation evidence (CRLs and OCSP responses) belongs here as well, as given by the
    caller.
    """

    anchors: tuple[Certificate, ...]
    _: KW_ONLY
    certificates: tuple[Certificate, ...] = ()
    # asked for with every message: the anchors, all that it holds, a digest of it in its order
    roots: frozenset[Certificate] = field(
        default=frozenset(), init=False, repr=False, compare=False
    )
    held: frozenset[Certificate] = field(default=frozenset(), init=False, repr=False, compare=False)
    digest: bytes = field(default=b"", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fields(self)
        everything = (*self.anchors, *self.certificates)
        digest = sha256(len(self.anchors).to_bytes(8, "big"))
        for one in everything:
            digest.update(len(one.der).to_bytes(8, "big"))
            digest.update(one.der)
        object.__setattr__(self, "roots", frozenset(self.anchors))
        object.__setattr__(self, "held", frozenset(everything))
        object.__setattr__(self, "digest", digest.digest())

    def __repr__(self) -> str:
        first = f"{self.anchors[0]!r:.200}" if self.anchors else "none"
        more = f" and {len(self.anchors) - 1} more" if len(self.anchors) > 1 else ""
        return f"TrustStore(anchors: {first}{more}; {len(self.certificates)} certificates)"

    @classmethod
    @checked
    def load(
        cls, *sources: str | PathLike[str] | bytes, certificates: Iterable[Certificate] = ()
    ) -> TrustStore:
        """Anchors from files and folders (a path) or from memory (bytes, or text that is PEM).

        Each file holds PEM, any number, or one DER, or is a certs-only message (`.p7b`); of a
        folder every file that holds certificates is taken, and what is none is passed over. Text
        around PEM blocks is skipped. Raises UsageError where a source cannot be read, is larger
        than 16 MB, or holds no certificate or a broken one.
        """
        anchors: dict[Certificate, None] = {}
        for source in sources:
            anchors.update(dict.fromkeys(_load(source)))
        return cls(tuple(anchors), certificates=tuple(certificates))

    from_pem = load  # the name under which it began


def _load(source: Source) -> list[Certificate]:
    if isinstance(source, bytes) or not is_folder(source):
        return list(read_certificates(source, limit=_MAX_FILE, most=_MAX_ANCHORS))
    found: list[Certificate] = []
    for file in files_of(source):
        try:
            found += read_certificates(file, limit=_MAX_FILE, most=_MAX_ANCHORS)
        except UsageError:
            continue  # less is believed, which cannot harm: keys, lists and notes stand there too
    if not found:
        raise UsageError(
            f"{file_name(source)} holds no file with a certificate",
            hint="give a folder of root certificates in PEM or DER",
        )
    return found
