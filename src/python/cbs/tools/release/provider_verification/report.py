"""What a verification found: the gate reads it, also of another commit's program."""

import msgspec


class InteractionOutcome(msgspec.Struct, kw_only=True):
    """Of one interaction; `why` is empty if it held. `pending`: its consumer only wishes for it.
    `unready`: its state could not be brought about, perhaps for the fault of another service."""

    description: str
    held: bool
    pending: bool = False
    unready: bool = False
    why: list[str] = []


class Heard(msgspec.Struct, kw_only=True):
    """A message as the provider sent it: a fact on its subject, or the reply to a request."""

    subject: str
    is_fact: bool
    body: str


class Verified(msgspec.Struct, kw_only=True):
    """Of one pact."""

    consumer: str
    provider: str
    outcomes: list[InteractionOutcome]
    messages: list[Heard] = []

    @property
    def held(self) -> bool:
        """Whether all of it held; a wish that is not fulfilled breaks no build."""
        return all(each.held or each.pending for each in self.outcomes)

    @property
    def held_whole(self) -> bool:
        """Whether all of it held, wishes too: who relies on it can be released."""
        return all(each.held for each in self.outcomes)


class VerificationReport(msgspec.Struct, kw_only=True):
    """`error`: why nothing, or not all, could be verified."""

    verified: list[Verified] = []
    error: str = ""
