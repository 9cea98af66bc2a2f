"""The release gate brings its verdicts here; they leave as facts, and are heard like all others."""

from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.response import Response

from cbs.audit.domain.release import NotSigned, ReleaseJudged
from cbs.kernel.refusal import KeyReused
from cbs.platform.http import Once, needs
from cbs.platform.outbox import Outbox
from cbs.platform.problem import refusals

VERDICT_CHARACTERS_MAX = 32_768
# What stands beside the text, to be searched, is what stands in it.
TOLD = ("application", "version", "environment", "answer", "pex_sha256")

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,63}$(?!\n)", max_length=64)]
Commit = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{40,64}$(?!\n)", max_length=64)]
# PostgreSQL keeps no U+0000 in a text.
Text = Annotated[
    str, msgspec.Meta(min_length=2, max_length=VERDICT_CHARACTERS_MAX, pattern=r"^[^\x00]*$(?!\n)")
]


class VerdictBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`verdict` is the text that was signed; the fields before it are in it, to be searched."""

    application: Name
    version: Commit
    environment: Name
    answer: Annotated[str, msgspec.Meta(pattern=r"^(yes|no|unknown)$(?!\n)")]
    pex_sha256: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?$(?!\n)")]
    verdict: Text
    key: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
    signature: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}$(?!\n)")]


class Kept(msgspec.Struct):
    """The fact will be in the log as soon as it is heard."""

    signature: str


@post(
    "/v1/audit/verdicts",
    operation_id="audit.verdicts.keep",
    summary="Keep what the release gate said of a version",
    status_code=201,
    opt=needs("audit.record"),
    responses=refusals(NotSigned, KeyReused),
)
async def keep_verdict(
    data: JSONBody[VerdictBody], once: NamedDependency[Once], outbox: NamedDependency[Outbox]
) -> Response[Kept]:
    _check_signed(data)

    async def put() -> Kept:
        await outbox.put(ReleaseJudged(**msgspec.structs.asdict(data)))
        return Kept(data.signature)

    return await once(put, lambda kept: kept, status=201)


def _check_signed(data: VerdictBody) -> None:
    """Raises NotSigned."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(data.key))
        key.verify(bytes.fromhex(data.signature), data.verdict.encode())
        said = msgspec.json.decode(data.verdict, type=dict[str, object])
    except (InvalidSignature, ValueError):  # msgspec's are ValueErrors, too
        raise NotSigned from None
    told = {name: getattr(data, name) for name in TOLD}
    if wrong := sorted(name for name in told if told[name] != said.get(name)):
        raise NotSigned(f"the text says something else of: {', '.join(wrong)}")
