"""Customers as the bank must be able to bear them: they repeat what was not answered, with the
same key, and now and then what was."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from cbs.simulation.bank import TELLER, Bank
from cbs.simulation.loop import pause
from cbs.simulation.plan import Step

ANSWER_SECONDS_MAX, PAUSE_SECONDS, REQUESTS_TRIES_MAX = 12.0, 1.5, 60
AGAIN = (429, 503)
AMOUNT_MINOR_MAX, LETTERS = 5_000_00, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


BECAUSE = {"reason": "asked for"}


class Unanswered(Exception):
    """Whether it had an effect is not known."""


class AnswersDiffer(AssertionError):
    """One key, two answers."""


class Failed(AssertionError):
    """The bank said that it made a mistake."""


@dataclass(slots=True, kw_only=True)
class Asked:
    """A request for a change, and what was said to it."""

    number: int
    key: str
    service: str
    path: str
    body: bytes
    asked_at: float
    about: str = ""
    status: int = 0
    answer: bytes = b""
    answered_at: float = 0.0

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300

    def said(self) -> Any:
        return msgspec.json.decode(self.answer)


@dataclass(slots=True, eq=False)
class Callers:
    bank: Bank
    time: Callable[[], float]
    note: Callable[[str], None]
    answered: Callable[[Asked], None]
    asked: list[Asked] = field(default_factory=list)
    accounts: dict[str, str] = field(default_factory=dict)  # number -> id
    customers: dict[str, str] = field(default_factory=dict)  # number -> id of the customer

    async def take(self, step: Step) -> None:
        random = Random(f"step {step.salt}")
        if step.work == "onboard":
            await self._onboard(step, random)
        elif step.work == "repeat":
            if done := [each for each in self.asked if each.status]:
                await self._repeat(random.choice(done))
        elif not self.accounts:
            self.note(f"#{step.number} {step.work}: nobody has an account yet")
        elif step.work in ("deposit", "withdraw", "transfer"):
            await self._pay(step, random)
        elif step.work in ("suspend", "reinstate", "part"):
            await self._change_standing(step, random)
        else:
            await self._change(step, random)

    async def _onboard(self, step: Step, random: Random) -> None:
        pan = "".join(random.choices(LETTERS, k=3)) + "P" + random.choice(LETTERS)
        pan += f"{random.randint(1, 9999):04}{random.choice(LETTERS)}"
        person = {
            "given_name": f"Customer {step.number}",
            "date_of_birth": "1990-05-17",
            "mobile": "+919876543210",
            "address": {
                "lines": ["12 Marine Drive"],
                "city": "Mumbai",
                "state": "Maharashtra",
                "country": "IN",
                "postal_code": "400020",
            },
            "documents": [{"type": "pan", "number": pan}],
        }
        registered = await self._ask(step, "customers", "/v1/customers", person)
        if not registered.accepted:
            return
        customer = registered.said()
        id, document = customer["id"], customer["documents"][0]["id"]
        if random.random() < 0.9:
            path = f"/v1/customers/{id}/documents/{document}/verify"
            await self._ask(step, "customers", path, None)
        product = random.choice(["SAVINGS-INR", "CURRENT-INR"])
        wanted = {"customer_id": id, "product": product}
        opened = await self._ask(step, "accounts", "/v1/accounts", wanted)
        if opened.accepted:
            account = opened.said()
            self.accounts[account["number"]] = account["id"]
            self.customers[account["number"]] = id
            cash = {"account": account["number"], "amount_minor": 1_000_000, "currency": "INR"}
            await self._ask(step, "payments", "/v1/payments/deposits", cash)

    async def _pay(self, step: Step, random: Random) -> None:
        numbers = list(self.accounts)
        amount = {"amount_minor": random.randint(1, AMOUNT_MINOR_MAX), "currency": "INR"}
        account = random.choice(numbers)
        if step.work == "transfer":
            # A busy shop, so that accounts are hot; sometimes oneself, which is refused.
            to = numbers[0] if random.random() < 0.3 else random.choice(numbers)
            wanted = {"remitter_account": account, "beneficiary_account": to, **amount}
            await self._ask(step, "payments", "/v1/payments/transfers", wanted)
        else:
            path = "deposits" if step.work == "deposit" else "withdrawals"
            wanted = {"account": account, **amount}
            await self._ask(step, "payments", f"/v1/payments/{path}", wanted)

    async def _change(self, step: Step, random: Random) -> None:
        numbers = list(self.accounts)
        number = random.choice(numbers)
        if step.work != "close" and random.random() < 0.8:
            number = numbers[0]  # changes that meet
        path = f"/v1/accounts/{self.accounts[number]}/{step.work}"
        wanted: dict[str, Any] = dict(BECAUSE)
        if step.work == "freeze":
            wanted["scope"] = random.choice(["debits", "all"])
        elif step.work == "unfreeze" and (placed := self._freezes(number)):
            wanted["freeze_id"] = placed[0] if random.random() < 0.3 else random.choice(placed)
        elif step.work == "limits":
            limit = random.randint(0, AMOUNT_MINOR_MAX)
            wanted = {"limit_per_transaction_minor": limit, "limit_per_day_minor": 10 * limit}
        elif step.work == "close" and random.random() < 0.7:
            await self._empty(step, number)
        await self._ask(step, "accounts", path, wanted, about=number)

    async def _change_standing(self, step: Step, random: Random) -> None:
        id = random.choice(list(self.customers.values())[:3])
        if step.work == "part" and random.random() < 0.5:
            id = random.choice(list(self.customers.values()))
            number = next(number for number, of in self.customers.items() if of == id)
            await self._empty(step, number)
            path = f"/v1/accounts/{self.accounts[number]}/close"
            await self._ask(step, "accounts", path, BECAUSE, about=number)
            await self._ask(step, "customers", f"/v1/customers/{id}/suspend", BECAUSE, about=id)
        verb = "close" if step.work == "part" else step.work
        await self._ask(step, "customers", f"/v1/customers/{id}/{verb}", BECAUSE, about=id)

    def _freezes(self, number: str) -> list[str]:
        """The ids of those that were placed."""
        placed = [e for e in self.asked if e.about == number and e.path.endswith("/freeze")]
        return [each.said()["freeze_id"] for each in placed if each.accepted]

    async def _empty(self, step: Step, number: str) -> None:
        """Withdraw what is there, as far as a customer can know it."""
        held = self.bank.servers["ledger"].rows("account").get(number)
        if held is not None and held.balance_minor > 0:
            cash = {"account": number, "amount_minor": held.balance_minor, "currency": "INR"}
            await self._ask(step, "payments", "/v1/payments/withdrawals", cash)

    async def _ask(
        self, step: Step, service: str, path: str, wanted: object, *, about: str = ""
    ) -> Asked:
        number = len(self.asked) + 1
        asked = Asked(
            number=number,
            key=f"key-{step.salt:08x}-{number}",
            service=service,
            path=path,
            body=b"" if wanted is None else msgspec.json.encode(wanted),
            asked_at=self.time(),
            about=about,
        )
        self.asked.append(asked)
        self.note(f"#{number} asks {path} {asked.body[:120].decode()}")
        for _ in range(REQUESTS_TRIES_MAX):
            try:
                status, answer = await self._once(asked)
            except Unanswered as why:
                self.note(f"#{number} is not answered: {why}")
            else:
                if status == 500:
                    raise Failed(f"#{number} {path}: {answer!r}")
                if status not in AGAIN:
                    asked.status, asked.answer, asked.answered_at = status, answer, self.time()
                    self.note(f"#{number} is answered {status} {answer[:100].decode()}")
                    self.answered(asked)
                    return asked
                self.note(f"#{number} is told to ask again: {answer[-90:].decode()}")
            await pause(PAUSE_SECONDS)
        raise Failed(f"#{number} was never answered")

    async def _repeat(self, asked: Asked) -> None:
        self.note(f"#{asked.number} is asked again")
        try:
            status, answer = await self._once(asked)
        except Unanswered:
            return
        if status not in AGAIN and (status, answer) != (asked.status, asked.answer):
            raise AnswersDiffer(
                f"#{asked.number}: {asked.status} {asked.answer!r}, then {status} {answer!r}"
            )

    async def _once(self, asked: Asked) -> tuple[int, bytes]:
        network, process = self.bank.network, self.bank.processes[asked.service]
        await pause(network.delay())
        service = self.bank.services.get(asked.service)
        if service is None or not process.alive:
            raise Unanswered("connection refused")
        exchange = Exchange(asked)
        process.start(service.admission(exchange.scope(), exchange.receive, exchange.send))
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                status, answer = await exchange.answer
        except TimeoutError:
            raise Unanswered("no answer in time") from None
        await pause(network.delay())
        if network.lost():
            raise Unanswered("the answer was lost")
        return status, answer


class Exchange:
    """One HTTP request as ASGI has it."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.status = 0
        self.body = b""
        self.answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

    def scope(self) -> dict[str, Any]:
        headers = [
            (b"host", b"bank"),
            (b"authorization", f"Bearer {TELLER.id}".encode()),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self.asked.body)).encode()),
            (b"idempotency-key", self.asked.key.encode()),
        ]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": self.asked.path,
            "raw_path": self.asked.path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("bank", 80),
            "state": {},
        }

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self.asked.body, "more_body": False}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        self.body += message.get("body", b"")
        if not message.get("more_body") and not self.answer.done():
            self.answer.set_result((self.status, self.body))
