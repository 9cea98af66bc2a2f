"""What travels on the bus: a call with all that must go along, and a reply or a refusal."""

from functools import cache
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from cbs.kernel.refusal import Refusal, RefusalKind

MESSAGE_BYTES_MAX = 256 * 1024
# A service may put its name before its caller's key. Cut short, two keys could become one.
KEY_CHARACTERS_MAX = 128

# PostgreSQL keeps no U+0000, and all of these may come to be kept.
Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$(?!\n)")]
Key = Annotated[Text, msgspec.Meta(max_length=KEY_CHARACTERS_MAX)]

T = TypeVar("T")

encode = msgspec.json.Encoder().encode


class Call(msgspec.Struct, Generic[T], kw_only=True, omit_defaults=True):
    """A request on the bus. `milliseconds_left` is relative, so clocks need not agree."""

    token: str
    milliseconds_left: int
    data: T
    key: Key = ""
    correlation_id: Text = ""
    causation_id: Text = ""
    on_behalf_of: Text = ""
    traceparent: str = ""


class Refused(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A refusal on its way back to the caller."""

    because: RefusalKind
    code: str
    title: str
    detail: str = ""


class Reply(msgspec.Struct, Generic[T], kw_only=True, omit_defaults=True):
    """`data` is there, or `refused` is."""

    data: T | UnsetType = UNSET
    refused: Refused | None = None


class RemoteRefusal(Refusal):
    """Another service said no; code, title and reason are its own."""

    code = "refused"

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.detail)
        self.kind = refused.because  # type: ignore[misc]
        self.code = refused.code  # type: ignore[misc]
        self.title = refused.title


# Of a call whose data cannot be read, all else.
call_of = msgspec.json.Decoder(Call[msgspec.Raw]).decode


def call_decoder(takes: Any) -> msgspec.json.Decoder[Call[Any]]:
    """Reads a call and its data at once."""
    return msgspec.json.Decoder(Call[takes])


@cache
def reply_decoder(gives: Any) -> msgspec.json.Decoder[Reply[Any]]:
    """Reads a reply and its data at once."""
    return msgspec.json.Decoder(Reply[gives])


def reply_with(result: object) -> bytes:
    return encode(Reply(data=result))


def reply_refusing(refusal: Refusal) -> bytes:
    title = getattr(refusal, "title", None) or refusal.__doc__ or ""
    return encode(
        Reply(
            refused=Refused(
                because=refusal.kind,
                code=refusal.code,
                title=" ".join(title.split()),
                detail=refusal.detail,
            )
        )
    )


def received(reply: Reply[T]) -> T:
    """What was answered; raises RemoteRefusal if that was a no."""
    if reply.refused is not None:
        raise RemoteRefusal(reply.refused)
    assert reply.data is not UNSET, "a reply carries data or a refusal"
    return reply.data
