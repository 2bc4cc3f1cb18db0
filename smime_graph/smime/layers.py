"""Take a message apart, layer by layer; nothing is judged here.

`parse_layers` takes layer after layer off a message. It follows only layers that wrap the whole
message: one inside a multipart or an attached message is errant (RFC 9787 6.2), it is listed and
left alone, or opened as a message of its own where its path is given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from .. import oids
from ..asn1.ber import Node
from ..budget import Budget
from ..buffers import Data, Octets, held, own, same
from ..cms import compressed_data, encrypted_data, enveloped_data
from ..cms.encrypted_data import EncryptedData
from ..cms.enveloped_data import EnvelopedData
from ..cms.signed_data import SignedData
from ..errors import (
    Hint,
    LimitReached,
    MalformedMessage,
    SmimeGraphError,
    UnsupportedAlgorithm,
    UsageError,
    kept,
)
from ..findings import Finding, finding
from ..x509.certificate import Certificate
from .context import VerificationContext
from .entity import (
    MAX_HEADER,
    MESSAGES,
    PKCS7_MIME,
    ContentType,
    Entity,
    claims_to_be_cms,
    has_unprintable_name,
    split_multipart,
)
from .lines import crlf, has_crlf_only
from .recognition import ReadLayer, entity_of, read_layer, recognise
from .report import ENCRYPTED, Layer, LayerType

MAX_LAYERS = 16  # a triple wrap has three
MAX_ERRANT = 20  # layers that are listed; a digest of a mailing list holds as many messages
_MAX_PARTS = 300  # that are looked at for them
_MAX_DEPTH = 10  # of multiparts and messages in one another
_MAX_BESIDE = 5  # texts that one list after the other put around a message

_LAST: tuple[LayerType, ...] = ("certs-only", "signed-receipt")  # inside is no MIME

# a number is at most that of the parts of a multipart
_PATH = re.compile(r"1(?:\.[1-9][0-9]{0,4}){0,40}", re.ASCII)
# A From in a header, as it is found by readers that take a bare CR, or what else ends a line on
# some system (U+0085, U+2028 and U+2029 do for `str.splitlines`), for a line end
_FROM_LINE = re.compile(
    rb"from(?:(?<=\Afrom)|(?<=[\x00-\x08\x0a-\x1f\x85]from)|(?<=\xe2\x80[\xa8\xa9]from))[ \t]*:"
)


class SignedLayer(NamedTuple):
    """A signed layer and what it may be over: the content as received, then with CRLF line ends.

    `is_clear` for the content of a multipart/signed, whose line ends whoever passes it on can see;
    `has_crlf_only` where it is known that all of them are CRLF.
    """

    described: Layer
    signed: SignedData
    contents: tuple[Octets, ...]
    is_clear: bool = False
    has_crlf_only: bool = False

    @property
    def path(self) -> str:
        return self.described.path


@dataclass(slots=True)
class ParsedMessage:
    """A message without its layers, as far as they came off; `error` is what stopped it.

    `start` is the message, or the part of it, as it came, and `first` the entity that it is;
    `outer` is the entity of the message whose From counts; `between` are the headers of the layers
    inside, the outermost first; `content` is what is in the last one, and `inner` the entity that
    it is, None where no layer came off. A bare CMS is no entity. `payload` is the same where it is
    the Cryptographic Payload (RFC 9787 4.3): in layers that sign or encrypt, and none itself.
    `errant` are the layers of parts.
    """

    content: Data
    start: Data
    first: Entity[Data] | None = None
    outer: Entity[Data] | None = None
    between: list[Entity[Data]] = field(default_factory=list)
    inner: Entity[Data] | None = None
    payload: Entity[Data] | None = None
    layers: list[Layer] = field(default_factory=list)
    errant: list[Layer] = field(default_factory=list)
    signed: list[SignedLayer] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    error: SmimeGraphError | None = None

    @property
    def certificates(self) -> list[Certificate]:
        """Every certificate that came along."""
        return [one for layer in self.signed for one in layer.signed.certificates]

    @property
    def is_encrypted(self) -> bool:
        """Whether one of the layers encrypts."""
        return any(layer.type in ENCRYPTED for layer in self.layers)

    def covers_content(self, layer: SignedLayer) -> bool:
        """Whether all that this layer is over was read, and nothing further in is encrypted."""
        inside = self.layers[self.layers.index(layer.described) :]
        return self.error is None and not any(one.type in ENCRYPTED for one in inside)


def count_from_lines(header: bytes) -> int:
    """How many From there are in it for one reader or another."""
    return len(_FROM_LINE.findall(header.lower()))  # which is quicker than re.IGNORECASE


def entity_inside(content: Data) -> Entity[Data] | None:
    """The content as an entity; None where it is none, as what was signed need not be."""
    try:
        return Entity(content)
    except MalformedMessage:  # the header is too long to be one, but who knows what readers do
        start = bytes(content[:MAX_HEADER])
        return Entity(start) if count_from_lines(start) else None


def header_findings(entity: Entity[Data], where: str) -> list[Finding]:
    """The first line of the header that is no field, and the one behind which nothing is read.

    Only of the message's own header is it shown: what stands further in may have been encrypted,
    and the report of what is refused goes further than the message.
    """
    if not entity.all(""):
        return []  # as of most
    is_shown = where == "message"
    found: list[Finding] = []
    for number, line in enumerate(entity.fields, 1):
        if line.name or (number == 1 and line.raw.startswith(b"From ")):
            continue  # a field, or the separator line of a mailbox file
        if has_unprintable_name(line.raw):
            name = line.raw.partition(b":")[0]
            shown = f"is {name[:40]!r}, which " if is_shown else ""
            text = (
                f"the name of header field {number} {shown}is not printable ASCII: nothing from"
                " there on is taken for header"
            )
            return [finding("smime.header", where, text)]
        if not found:
            text = f"header line {number} is no field"
            text += f": {line.raw[:40]!r}" if is_shown else ""
            found = [finding("smime.header", where, text)]
    return found


def parse_layers(
    raw: Data,
    context: VerificationContext,
    *,
    content: Data | None = None,
    at_most: int | None = None,
    part: str | None = None,
) -> ParsedMessage:
    """Take the layers off, the outermost first. Raises nothing that `ParsedMessage.error` can hold.

    `content` is the detached content of a bare signature. `at_most` is the number of layers after
    which the reading ends. `part` is the path of the layer at which to begin, as `Layer.path` has
    it; UsageError if it is none.
    """
    parsed = ParsedMessage(raw, raw)
    budget, path, is_layer = context.budget, part or "1", True
    try:
        parsed.outer = parsed.inner = entity_of(raw, budget)
        if parsed.outer is not None:
            parsed.findings += header_findings(parsed.outer, "message")
        if part is not None:
            is_layer = _go_to(parsed, part, context)
            parsed.start = parsed.content
        parsed.first = parsed.inner
        while is_layer and (cms := recognise(parsed.content, path, parsed.inner)) is not None:
            if len(parsed.layers) >= MAX_LAYERS:
                raise MalformedMessage(f"more than {MAX_LAYERS} S/MIME layers")
            if parsed.inner is not None and parsed.inner is not parsed.outer:
                parsed.between.append(parsed.inner.without_body())
                parsed.findings += header_findings(parsed.inner, f"layer {path}")
            parsed.findings += cms.findings
            lack = None
            if cms.content is not None:
                lack = "the signature of a multipart/signed is no SignedData"
            elif content is not None:
                lack = "the content given has no signature: the message is none"
            layer = read_layer(cms, path, budget, unless_signed=lack)
            parsed.layers.append(layer.described)
            if isinstance(layer.value, EnvelopedData):
                parsed.content = enveloped_data.decrypt(
                    layer.value, context.identities, policy=context.policy, budget=budget
                )
            else:
                _open_layer(parsed, layer, content, context)
            parsed.findings += _weak(layer, context)
            content, parsed.inner = None, None
            path += ".1"
            if len(parsed.layers) == at_most or layer.described.type in _LAST:
                break
            parsed.inner = entity_of(parsed.content, budget)
        else:
            parsed.errant, found = find_errant(parsed.content, parsed.inner, path, budget)
            parsed.findings += found
    except SmimeGraphError as error:
        parsed.error = kept(error)
    if not is_layer:
        raise UsageError(
            f"there is no S/MIME layer at {(part or '')[:60]!r}",
            hint="inspect shows the layers and their paths",
        )
    if parsed.content is parsed.start:
        parsed.inner = None
    elif parsed.inner is None:
        parsed.inner = entity_inside(parsed.content)
    if (
        parsed.error is None
        and parsed.inner is not None
        and (parsed.is_encrypted or any(layer.signed.signers for layer in parsed.signed))
        and parsed.layers[-1].type not in _LAST
        and not claims_to_be_cms(parsed.inner)
    ):
        parsed.payload = parsed.inner
    return parsed


def _open_layer(
    parsed: ParsedMessage, layer: ReadLayer, content: Data | None, context: VerificationContext
) -> None:
    """Make what is in the layer the content of `parsed`; an EnvelopedData is not its business."""
    value, cms = layer.value, layer.cms
    if isinstance(value, EncryptedData):
        parsed.content = encrypted_data.decrypt(value, context.identities, policy=context.policy)
    elif isinstance(value, Node):
        parsed.content = compressed_data.decompress_content(
            value, policy=context.policy, budget=context.budget
        )
    if not isinstance(value, SignedData):
        return
    if layer.described.type == "certs-only":
        parsed.signed.append(SignedLayer(layer.described, value, (b"",)))
        return
    outside = cms.content if cms.content is not None else content
    if content is not None and outside is not None and not _same_text(outside, content):
        # else the caller would take another content than the one given for signed
        raise MalformedMessage("the message has a content of its own, not the one given")
    contents, is_crlf = _contents(value, outside)
    is_clear = cms.content is not None
    parsed.signed.append(SignedLayer(layer.described, value, contents, is_clear, is_crlf))
    if value.content_type not in (oids.DATA, oids.RECEIPT):
        # RFC 8551 2.4.1; a key signs other things than mail, which mail could be mistaken for
        text = f"what is signed is of type {value.content_type}, and no mail"
        where = f"layer {layer.described.path}"
        parsed.findings.append(finding("smime.inner-type", where, text))
    parsed.content = held(contents[0])


def _weak(layer: ReadLayer, context: VerificationContext) -> list[Finding]:
    """What an encrypted layer that was opened uses, and the policy flags."""
    if not isinstance(layer.value, EnvelopedData | EncryptedData):
        return []
    where, policy = f"layer {layer.described.path}", context.policy
    # whichever recipient it was read as: the weakest way to the content key is everybody's
    ways = [one.algorithm for one in layer.described.recipients]
    used = dict.fromkeys((layer.described.cipher, *ways))
    return [
        finding("alg.weak", where, f"policy {policy.name} reads {name} and flags it as weak")
        for name in used
        if name in policy.flag
    ]


def _same_text(one: Data, other: Data) -> bool:
    return one is other or same(crlf(one), crlf(other))


def _contents(
    signed: SignedData, outside: Data | None
) -> tuple[tuple[Data, *tuple[Octets, ...]], bool]:
    """What the layer may be over, and whether it is known to have no line end but CRLF."""
    if outside is None:
        if signed.content is None:
            raise MalformedMessage(
                "the signed content is not in the message",
                hint=Hint("give the content that this detached signature is over", "content"),
            )
        return (own(signed.content),), False
    outside = own(outside)  # what is checked is what is given, whatever becomes of the file
    # a file with LF line ends, or a relay that changed them: RFC 8551 3.1.1 signs CRLF
    is_crlf = isinstance(outside, bytes) and has_crlf_only(outside)
    canonical = outside if is_crlf else crlf(outside)
    if signed.content is not None and not (
        same(signed.content, outside) or same(signed.content, canonical)
    ):
        # CVE-2018-18509: the text that is shown must be the text that was signed
        raise MalformedMessage("a detached signature carries a content of its own")
    return (outside,) if canonical is outside else (outside, canonical), is_crlf


# --- parts --------------------------------------------------------------------------------


def _children(entity: Entity[Data]) -> tuple[Data | None, ...]:
    """The entities in this one, which is no S/MIME: its parts, or the message that it carries."""
    kind = entity.content_type
    if kind.is_multipart:
        return split_multipart(entity.body, kind.parameters.get("boundary", "")).parts
    if kind.value in MESSAGES:
        return (entity.decoded_body(),)
    return ()


def _default_inside(entity: Entity[Data] | None) -> str:
    return "text/plain" if entity is None else entity.content_type.default_inside


def find_errant(
    raw: Data, entity: Entity[Data] | None, path: str, budget: Budget
) -> tuple[list[Layer], list[Finding]]:
    """The layers inside the entity at `path`, which is none itself: they protect a part at most.

    `entity` is what `entity_of` made of `raw`. Only what can be seen without a key; bounded in
    number and depth. Raises LimitReached.
    """
    layers: list[Layer] = []
    found: list[Finding] = []
    pending: list[tuple[Data, str, int, str]] = [(raw, path, 0, "text/plain")]
    seen = 0
    footed = ""
    is_cut = False
    while pending:
        part, where, depth, default = pending.pop()
        seen += 1
        if seen > _MAX_PARTS or len(layers) >= MAX_ERRANT:
            is_cut = True
            break
        if depth > _MAX_DEPTH:
            is_cut = True
            continue
        try:
            entity = entity_of(part, budget, default=default) if depth else entity
            cms = recognise(part, where, entity) if depth else None
            if cms is None:
                inside = () if entity is None else _children(entity)
                if not depth and entity is not None:
                    footed = _beside_text(entity, inside, path)
            else:
                layer = read_layer(cms, where, budget)
                described = layer.described
                has_footer = where == footed and described.type not in _LAST
                layers.append(replace(described, errant=True, has_list_footer=has_footer))
                text = f"a part is {described.type}: it does not protect the message"
                if has_footer:
                    text += ", to which text was added, as mailing lists do: nobody vouches for it"
                found.append(finding("smime.errant-layer", f"part {where}", text))
                inside = (layer.visible_content,)
        except LimitReached:
            raise
        except (MalformedMessage, UnsupportedAlgorithm) as error:
            # the content of a layer need not be well-formed MIME
            if depth and (kind := _kind_of(part)) in (*PKCS7_MIME, "multipart/signed"):
                text = f"a part is {kind}, but cannot be read: {error}"
                found.append(finding("smime.errant-layer", f"part {where}", text))
            continue
        numbered = [
            (one, f"{where}.{n}", depth + 1, _default_inside(entity))
            for n, one in enumerate(inside, 1)
            if one is not None
        ]
        pending += reversed(numbered[: _MAX_PARTS + 1])
    if is_cut:
        text = "there are more parts than are looked at for layers of their own"
        found.append(finding("smime.errant-layer", "message", text))
    return layers, found


def _beside_text(entity: Entity[Data], parts: Sequence[Data | None], path: str) -> str:
    """The path of the one part beside which there is nothing but plain text, as a mailing list
    makes it that adds a footer (RFC 9787 6.2.1); nothing where there is none.
    """
    if entity.content_type.value != "multipart/mixed" or not 1 < len(parts) <= _MAX_BESIDE:
        return ""
    others = [n for n, one in enumerate(parts, 1) if one is None or not _is_plain_text(one)]
    return f"{path}.{others[0]}" if len(others) == 1 else ""


def _is_plain_text(raw: Data) -> bool:
    try:
        entity = Entity(raw)
        disposition = ContentType.read(entity.get("Content-Disposition") or "inline").value
        return entity.content_type.value == "text/plain" and disposition == "inline"
    except MalformedMessage:
        return False


def _kind_of(raw: Data) -> str:
    """The content type of the entity, or nothing where it has none that can be read."""
    try:
        return Entity(raw).content_type.value
    except MalformedMessage:
        return ""


def _go_to(parsed: ParsedMessage, path: str, context: VerificationContext) -> bool:
    """Make the part at `path` the content of `parsed`; whether it is a layer.

    What is in the layers on the way is seen as the key and their signatures leave it: nobody judges
    those. `outer` becomes the header of the message that the part is in, whose From is its sender.
    """
    steps = path.split(".") if _PATH.fullmatch(path) else ["0"]
    here = "1"
    is_errant = False
    for step in steps[1:]:
        entity = parsed.inner
        if is_layer := recognise(parsed.content, here, entity) is not None:
            on_the_way = parse_layers(parsed.content, context, at_most=1)
            if on_the_way.error is not None:
                raise on_the_way.error
            is_last = on_the_way.layers[-1].type in _LAST
            inside: Sequence[Data | None] = () if is_last else (on_the_way.content,)
        else:
            inside = () if entity is None else _children(entity)
            is_errant = True
        number = int(step)
        chosen = inside[number - 1] if 0 < number <= len(inside) else None
        if chosen is None:
            break
        here = f"{here}.{step}"
        parsed.content = chosen
        parsed.inner = entity_of(chosen, context.budget, default=_default_inside(entity))
        if parsed.inner is None:
            continue
        if is_layer:  # readers may show the From in it as the message's (RFC 9788 4.4)
            parsed.between.append(parsed.inner.without_body())
        elif entity is not None and entity.content_type.value in MESSAGES:
            # what other fields stand in the header of a mere part mean nothing (RFC 2046 5.1), and
            # an attached message that has none but those of a part is from whom the one around it
            # is
            if len(parsed.inner.mime_fields) < len(parsed.inner.fields):
                parsed.outer, parsed.between = parsed.inner, []
            parsed.findings += header_findings(parsed.inner, f"part {here}")
    if here != path or recognise(parsed.content, here, parsed.inner) is None:
        return False
    if is_errant:
        text = "the part alone is looked at: nothing here is said of the message around it"
        parsed.findings.append(finding("smime.errant-layer", f"part {path}", text))
    return True
