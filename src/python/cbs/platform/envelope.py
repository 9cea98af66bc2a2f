"""What travels on the bus: a call with all that must go along, and a reply or a refusal."""

from typing import Annotated, TypeVar

import msgspec

from cbs.kernel.refusal import Refusal, RefusalKind

MESSAGE_BYTES_MAX = 256 * 1024
# A service may put its name before its caller's key. Cut short, two keys could become one.
KEY_CHARACTERS_MAX = 128

# PostgreSQL keeps no U+0000, and all of these may come to be kept.
Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$(?!\n)")]
Key = Annotated[Text, msgspec.Meta(max_length=KEY_CHARACTERS_MAX)]

R = TypeVar("R")

encode = msgspec.json.Encoder().encode


class Call(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A request on the bus. `milliseconds_left` is relative, so clocks need not agree."""

    token: str
    milliseconds_left: int
    data: msgspec.Raw
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


# msgspec 0.22 decodes nothing but null into `Raw | None`.
NO_DATA = msgspec.Raw()


class Reply(msgspec.Struct, kw_only=True, omit_defaults=True):
    data: msgspec.Raw = NO_DATA
    refused: Refused | None = None


class RemoteRefusal(Refusal):
    """Another service said no; code, title and reason are its own."""

    code = "refused"

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.detail)
        self.kind = refused.because  # type: ignore[misc]
        self.code = refused.code  # type: ignore[misc]
        self.title = refused.title


_calls = msgspec.json.Decoder(Call)
_replies = msgspec.json.Decoder(Reply)

call_of = _calls.decode
reply_of = _replies.decode


def reply_with(result: object) -> bytes:
    return encode(Reply(data=msgspec.Raw(encode(result))))


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


def received(reply: Reply, gives: type[R]) -> R:
    """What was answered; raises RemoteRefusal if that was a no."""
    if reply.refused is not None:
        raise RemoteRefusal(reply.refused)
    assert reply.data is not NO_DATA, "a reply carries data or a refusal"
    return msgspec.json.decode(reply.data, type=gives)
