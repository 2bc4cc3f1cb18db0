"""THE tables: every algorithm this package can use and every kind of key, one row each.

A row names the algorithm as its RFC does, carries its object identifiers, and holds the function of
`primitives` that carries it out. Nothing else in the package compares an algorithm or a kind of key
by name or decides by if-ladders: a new one is one row here, one vector, and, of an algorithm, a
name in each policy.
"""

from ..buffers import Data as Data
from .rows import AgreementKey as AgreementKey
from .rows import CekDerivation as CekDerivation
from .rows import Compression as Compression
from .rows import ContentCipher as ContentCipher
from .rows import Digest as Digest
from .rows import Kem as Kem
from .rows import KeyAgreement as KeyAgreement
from .rows import KeyDerivation as KeyDerivation
from .rows import KeyKind as KeyKind
from .rows import KeyTransport as KeyTransport
from .rows import KeyWrap as KeyWrap
from .rows import OaepParameters as OaepParameters
from .rows import ParameterSet as ParameterSet
from .rows import PasswordEncryption as PasswordEncryption
from .rows import PssParameters as PssParameters
from .rows import Row as Row
from .rows import SeededForm as SeededForm
from .rows import SignatureScheme as SignatureScheme
from .table import MD5 as MD5
from .table import SHA1 as SHA1
from .table import SHA224 as SHA224
from .table import SHA256 as SHA256
from .table import SHA384 as SHA384
from .table import SHA512 as SHA512
from .table import TABLE as TABLE
from .table import R as R
from .table import by_name as by_name
from .table import by_oid as by_oid
from .table import find as find
from .table import kind_of as kind_of
from .table import rows as rows
