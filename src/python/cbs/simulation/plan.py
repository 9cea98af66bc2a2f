"""What will happen is drawn from the seed before anything does, so that parts can be left out."""

from dataclasses import dataclass
from random import Random

from cbs.bank import SERVICES

ONBOARDED, STEPS = 12, 190
BUSY_SECONDS, CRASHES, OTHER_FAULTS = 40.0, 4, 10
RUSH_SECONDS, RUSH_LASTS_SECONDS = (6.0, 12.0, 20.0, 31.0), 0.12

WORK = {
    "deposit": 22,
    "withdraw": 12,
    "transfer": 40,
    "freeze": 11,
    "unfreeze": 10,
    "limits": 11,
    "close": 5,
    "suspend": 5,
    "reinstate": 6,
    "part": 2,
    "repeat": 7,
}
# What may go wrong, and for how long at most.
FAULTS = {
    "lose-messages": 6.0,
    "double-messages": 8.0,
    "slow-network": 6.0,
    "cut-off": 8.0,
    "database-away": 6.0,
    "database-cut": 0.0,
    "lose-commits": 0.0,
    "undo-commits": 0.0,
    "lose-streams": 0.0,
    "forgetful-streams": 8.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Somebody wants something; `salt` decides the rest when it is their turn."""

    number: int
    at: float
    work: str
    salt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    at: float
    kind: str
    service: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.kind} {self.service} for {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    seed: int
    steps: tuple[Step, ...]
    faults: tuple[Fault, ...]

    @property
    def crashes(self) -> int:
        return sum(fault.kind == "crash" for fault in self.faults)


def plan_of(seed: int) -> Plan:
    random = Random(f"plan {seed}")
    steps = [
        Step(number=n, at=random.uniform(0, 4), work="onboard", salt=random.getrandbits(32))
        for n in range(ONBOARDED)
    ]
    kinds, weights = list(WORK), list(WORK.values())
    for n in range(ONBOARDED, ONBOARDED + STEPS):
        [work] = random.choices(kinds, weights)
        # Now and then many at one moment.
        at = random.uniform(3, BUSY_SECONDS) if n % 2 else random.choice(RUSH_SECONDS)
        steps.append(Step(number=n, at=at, work=work, salt=random.getrandbits(32)))
    faults = [_fault(random, "crash", 4.0) for _ in range(CRASHES)]
    for _ in range(OTHER_FAULTS):
        kind = random.choice(list(FAULTS))
        faults.append(_fault(random, kind, FAULTS[kind]))
    faults.sort(key=lambda fault: fault.at)
    return Plan(seed=seed, steps=tuple(steps), faults=tuple(faults))


def _fault(random: Random, kind: str, seconds_max: float) -> Fault:
    # The ledger is in every payment: what goes wrong there is told most often.
    service = random.choice([*SERVICES, "ledger", "ledger", "accounts"])
    at, seconds = random.uniform(1, BUSY_SECONDS), random.uniform(0, seconds_max)
    if random.random() < 0.5:  # when most is under way
        at = random.choice(RUSH_SECONDS) + random.uniform(0, RUSH_LASTS_SECONDS)
    return Fault(at=at, kind=kind, service=service, seconds=seconds)
