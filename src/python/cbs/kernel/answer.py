"""An answer is kept byte for byte, so that asking again gives the same."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`status` is HTTP's; `body` is JSON, a problem document from 400 up."""

    status: int
    body: bytes

    @property
    def is_refusal(self) -> bool:
        return self.status >= 400
