"""A certificate for a server on this machine, so that clients that refuse plain HTTP can use it."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization as ser

from .. import oids
from ..pki.keyfiles.read import armour
from ..x509.certificate import Certificate
from .issue import CA
from .profile import extension


def authority_for_tls() -> CA:
    """One that nothing but tests should believe."""
    return CA("smime_graph test authority for TLS", key="p256")


def server_context(
    names: Iterable[str] = (), *, ca: CA | None = None
) -> tuple[ssl.SSLContext, Certificate]:
    """The context of a server whose certificate is for loopback and `names`, hosts or addresses;
    and the certificate of the authority that vouches for it: `ca`, or one whose key is gone when
    this returns.
    """
    ca = ca or authority_for_tls()
    hosts = dict.fromkeys(("localhost", "127.0.0.1", *names))
    held = ca.issue(
        name="localhost",
        key="p256",
        use="sign",
        eku=(oids.SERVER_AUTH,),
        policies=(),
        extensions=(extension(x509.SubjectAlternativeName([_name(one) for one in hosts])),),
    )
    key = held.private_key.private_bytes(
        ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.TemporaryDirectory() as folder:  # ssl takes keys from files alone; 0700
        path = Path(folder, "server.pem")
        path.write_bytes(key + armour(held.certificate))
        context.load_cert_chain(path)
    return context, ca.certificate


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
