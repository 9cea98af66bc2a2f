"""What a release would change is what differs between two commits of what a service is made of."""

import msgspec

from cbs.bank import SERVICES
from cbs.tools.release.gate.history import SHORT, GitHistory
from cbs.tools.release.gate.schemas import changes_between
from cbs.tools.release.layout import SOURCES
from cbs.tools.release.migration_lint.steps import statements_of

COMMITS_SHOWN_MAX = 30


class Migration(msgspec.Struct, kw_only=True):
    """A new one, with its statements: what kind of step each is, and its SQL."""

    name: str
    statements: list[tuple[str, str]]


class ReleaseDifference(msgspec.Struct, kw_only=True):
    """`commits` touch the service or what all services are built on; `withdrawn` go, in a rollback.

    `before` is empty where nothing of it is there yet: then everything is new.
    """

    application: str
    environment: str
    before: str
    after: str
    backwards: bool = False
    commits: list[str] = []
    breaking: list[str] = []
    compatible: list[str] = []
    migrations: list[Migration] = []
    withdrawn: list[str] = []

    @property
    def is_none(self) -> bool:
        return not (self.commits or self.breaking or self.compatible or self.migrations)


def difference(
    history: GitHistory, application: str, environment: str, before: str, after: str
) -> ReleaseDifference:
    found = ReleaseDifference(
        application=application, environment=environment, before=before, after=after
    )
    if not before:
        return found
    place = f"{SOURCES}/{application}" if application in SERVICES else SOURCES
    shared = {*history.shared(before), *history.shared(after)}
    paths = (place, *shared, f"contracts/openapi/{application}.json")
    found.commits = history.commits(before, after, *paths)
    if not found.commits:
        found.withdrawn = history.commits(after, before, *paths)
        found.backwards = bool(found.withdrawn)
    for change in changes_between(history, application, before, after):
        kind = found.breaking if change.breaking else found.compatible
        kind.append(f"{change.where}: {change.what}")
    found.migrations = _migrations(history, application, before, after)
    return found


def _migrations(history: GitHistory, service: str, before: str, after: str) -> list[Migration]:
    olds, news = (history.migrations(sha, service) for sha in (before, after))
    return [
        Migration(
            name=name,
            statements=[
                (str(each.step), each.sql)
                for each in statements_of(news[name], before=list(olds.values()))
            ],
        )
        for name in sorted(news.keys() - olds.keys())
    ]


def as_text(found: ReleaseDifference) -> str:
    what = f"{found.application} in {found.environment}"
    if not found.before:
        return f"{what}: nothing is there, all of {found.after[:SHORT]} is new"
    lines = [f"{what}: {found.before[:SHORT]} -> {found.after[:SHORT]}"]
    if found.is_none and not found.withdrawn:
        return lines[0] + ": nothing of what it is made of changes"
    commits, sign = (found.withdrawn, "-") if found.backwards else (found.commits, "+")
    lines += [f"  {sign} {each}" for each in commits[:COMMITS_SHOWN_MAX]]
    if len(commits) > COMMITS_SHOWN_MAX:
        lines.append(f"  and {len(commits) - COMMITS_SHOWN_MAX} commits more (--json has all)")
    lines += [f"  BREAKS    {each}" for each in found.breaking]
    lines += [f"  contract  {each}" for each in found.compatible]
    for migration in found.migrations:
        lines.append(f"  migration {migration.name}")
        lines += [f"            {step}: {sql}" for step, sql in migration.statements]
    return "\n".join(lines)
