"""What the user believes: trust anchors, and certificates to build paths with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from hashlib import sha256
from os import PathLike
from pathlib import Path

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
    believed, only used to build paths. Nothing is taken from the operating system but by `system`,
    and nothing is fetched.
    """

    anchors: tuple[Certificate, ...]
    _: KW_ONLY
    certificates: tuple[Certificate, ...] = ()
    # where a store came from that nobody put together, as `system` says it; else ""
    origin: str = field(default="", compare=False)
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
        whose = f" of {self.origin}" if self.origin else ""
        return f"TrustStore(anchors{whose}: {first}{more}; {len(self.certificates)} certificates)"

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

    @classmethod
    def system(cls) -> TrustStore:
        """The roots that others chose: those of the package certifi where it is installed, else the
        platform's, in the file where it keeps them; `origin` says which. Never the default.

        They were chosen for TLS, except in the file for mail that Fedora and its kin have, the
        first of the platform's: whether such a root may vouch for mail as well nobody has asked.
        Name the roots of those who write to you (`load`) where you can. Raises UsageError where
        there are none, as on Windows without certifi.
        """
        for origin, place in _system_places():
            if place.is_file():
                anchors = dict.fromkeys(_load(place))
                return cls(tuple(anchors), origin=f"{origin} ({place})")
        raise UsageError(
            "no roots of the system are found",
            hint="install certifi, or give the roots that you believe as files",
        )

    from_pem = load  # the name under which it began


# as Go's crypto/x509 looks for them
_FOR_MAIL = "/etc/pki/ca-trust/extracted/pem/email-ca-bundle.pem"
_FOR_TLS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def _system_places() -> Iterator[tuple[str, Path]]:
    with suppress(ImportError):
        import certifi

        yield f"certifi {certifi.__version__}, chosen for TLS", Path(certifi.where())
    yield "the platform, chosen for mail", Path(_FOR_MAIL)
    for bundle in _FOR_TLS:
        yield "the platform, chosen for TLS", Path(bundle)


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
