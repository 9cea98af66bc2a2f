"""A version is a commit: its pacts, its contracts and its sources are read from the history."""

import ast
import hashlib
import json
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from cbs.tools.release.layout import LOCK, SOURCES, Layout, calls_in, layout_of

PACTS = "contracts/pacts"
GIT_SECONDS_MAX = 120
SHORT = 10
NONE = "-"


class NoSuchVersion(Exception):
    """The repository has no such commit."""


class NotAPact(ValueError):
    """A file of contracts/pacts is none; it says which, and of which commit."""


@dataclass(frozen=True, slots=True)
class Pact:
    """A pact as a commit has it."""

    consumer: str
    provider: str
    body: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """The SHA-256 of its bytes: versions that ask for the same share what was verified."""
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True, slots=True)
class GitHistory:
    """The repository at `root`; nothing in its work tree is changed."""

    root: Path

    @classmethod
    def around(cls, folder: Path) -> "GitHistory":
        """Of the clone that the folder lies in. Raises NoSuchVersion."""
        try:
            top = cls(folder)._text("rev-parse", "--show-toplevel")
            cls(folder).sha("HEAD")
        except NoSuchVersion:
            what = f"{folder} is in no git repository that has a commit"
            raise NoSuchVersion(f"{what}: name a clone with --repository") from None
        return cls(Path(top))

    def _git(self, *words: str) -> bytes:
        argv = ["git", "-C", str(self.root), *words]
        try:
            done = subprocess.run(argv, capture_output=True, timeout=GIT_SECONDS_MAX, check=False)
        except subprocess.TimeoutExpired:
            late = f"git {words[0]} took more than {GIT_SECONDS_MAX} s: ask again"
            raise NoSuchVersion(late) from None
        if done.returncode != 0:
            raise NoSuchVersion(done.stderr.decode(errors="replace").strip()[-300:])
        return done.stdout

    def _text(self, *words: str) -> str:
        return self._git(*words).decode().strip()

    def sha(self, revision: str) -> str:
        """Raises NoSuchVersion."""
        if revision.startswith("-"):
            raise NoSuchVersion(f"{revision!r} is no commit")
        try:
            return self._text("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        except NoSuchVersion:
            raise NoSuchVersion(
                f"{self.root} has no commit {revision!r}: fetch it, or name another version"
            ) from None

    def first(self) -> str:
        """The id of the first commit, which all clones of a repository have in common."""
        return self._text("rev-list", "--max-parents=0", "HEAD").split()[-1]

    def branch(self) -> str | None:
        """None of a commit that is checked out by itself, as CI does it."""
        name = self._text("rev-parse", "--abbrev-ref", "HEAD")
        return None if name == "HEAD" else name

    def branches(self) -> list[str]:
        """Local branches, the newest commit first."""
        words = ("--format=%(refname:short)", "--sort=-committerdate", "refs/heads")
        return self._text("for-each-ref", *words).split()

    def at(self, sha: str) -> str:
        """When it was committed, as ISO 8601."""
        return self._text("show", "-s", "--format=%cI", sha)

    def commits(self, before: str, after: str, *paths: str) -> list[str]:
        """What `after` has and `before` lacks, below these paths; id and subject, newest first."""
        words = ("log", "--no-merges", "--format=%h %s", f"{before}..{after}", "--", *paths)
        return self._text(*words).splitlines()

    def removed(self, sha: str, file: str) -> str:
        """The commit in which a version's history took a file of that name away; "" if none did."""
        words = ("log", "-1", "--format=%h", "--no-renames", "--diff-filter=D", sha)
        return self._text(*words, "--", f":(glob)**/{file}")

    def author(self, file: str, *versions: str) -> str:
        """Who brought a file of that name into the history of one of these, and in which commit."""
        words = ("log", "-1", "--format=%an <%ae> in %h", "--no-renames", "--diff-filter=A")
        return self._text(*words, *versions, "--", f":(glob)**/{file}")

    def changed(self, *paths: str) -> bool:
        """Whether the work tree differs from HEAD below these paths."""
        return bool(self._text("status", "--porcelain", "--", *paths))

    def is_head(self, sha: str) -> bool:
        return sha == self.sha("HEAD")

    def file(self, sha: str, path: str) -> bytes | None:
        try:
            return self._git("show", f"{sha}:{path}")
        except NoSuchVersion:
            return None

    def files(self, sha: str, folder: str) -> list[str]:
        """All paths below a folder; none if the commit lacks it."""
        return self._text("ls-tree", "-r", "--name-only", sha, "--", f"{folder}/").splitlines()

    def blobs(self, sha: str, folder: str) -> dict[str, str]:
        """Path -> git's own name for the content, of all files below a folder."""
        listed = self._text("ls-tree", "-r", "-z", sha, "--", folder).split("\0")
        rows = (line.partition("\t") for line in listed if line)
        return {path: entry.split()[2] for entry, _, path in rows}

    def pacts(self, sha: str) -> list[Pact]:
        """All pacts of a commit; none if it was made before there were any."""
        found = []
        for path in self.files(sha, PACTS):
            body = self.file(sha, path)
            assert body is not None, path
            try:
                found.append(pact_of(body))
            except ValueError as error:
                what = f"{path} of {sha[:SHORT]} cannot be read: {error}"
                raise NotAPact(f"{what}; ./cbs contracts write, and release that") from None
        return found

    def content(self, provider: str, sha: str) -> str:
        """Changes whenever something changes that answers for a provider: itself, what it calls,
        what all services are built on, and how it is verified. How that is laid out, and what a
        comment says, does not matter."""
        return _content(self, provider, sha)

    def code(self, sha: str) -> str:
        """Changes whenever something changes by which contracts are written, and when they do."""
        return _meaning(self, sha, (SOURCES, "contracts", LOCK))

    def layout(self, sha: str) -> Layout:
        return layout_of(lambda path: self.tree_id(sha, path) != NONE)

    def shared(self, sha: str) -> tuple[str, ...]:
        """Of what a verification depends on whichever provider it is of: the edge is before all."""
        places = ("kernel", "platform", "gateway", self.layout(sha).verification)
        return (*(f"{SOURCES}/{place}" for place in places), LOCK)

    def verification(self, sha: str) -> str:
        """Git's name for how this commit verifies a provider."""
        return self.tree_id(sha, f"{SOURCES}/{self.layout(sha).verification}")

    def verifies_over_migrations(self, sha: str) -> bool:
        """Whether its program lets another commit's migrations run beside a bank."""
        place = f"{SOURCES}/{self.layout(sha).verification}/program.py"
        return b"--migrations" in (self.file(sha, place) or b"")

    def declaration(self, sha: str, service: str) -> str:
        """The text of it; empty if the commit has no such service."""
        place = f"{SOURCES}/{service}/{self.layout(sha).declaration}"
        return (self.file(sha, place) or b"").decode()

    def migrations(self, sha: str, service: str) -> dict[str, str]:
        """File -> text, in the order in which they run: a migration is known by its file's name,
        wherever it lies."""
        folder = f"{SOURCES}/{service}/{self.layout(sha).migrations}"
        return {path.rpartition("/")[2]: text for path, text in self.modules(sha, folder).items()}

    def modules(self, sha: str, folder: str) -> dict[str, str]:
        """Path -> text of all that has some below a folder."""
        return {
            path: text
            for path in self.files(sha, folder)
            if path.endswith(".py") and (text := (self.file(sha, path) or b"").decode())
        }

    def tree_id(self, sha: str, path: str) -> str:
        """Git's own name for the content of a file or folder; NONE if the commit lacks it."""
        try:
            return self._text("rev-parse", "--verify", "--quiet", f"{sha}:{path}")
        except NoSuchVersion:
            return NONE

    def meanings(self, blobs: Collection[str]) -> dict[str, str]:
        """Git's name of a Python file -> the SHA-256 of what it says to Python."""
        argv = ["git", "-C", str(self.root), "cat-file", "--batch"]
        asked = "".join(f"{blob}\n" for blob in blobs).encode()
        done = subprocess.run(
            argv, input=asked, capture_output=True, timeout=GIT_SECONDS_MAX, check=True
        )
        found, rest = {}, done.stdout
        for blob in blobs:
            size = int(rest[: rest.index(b"\n")].split()[2])
            start = rest.index(b"\n") + 1
            text, rest = rest[start : start + size], rest[start + size + 1 :]
            try:
                said = ast.dump(ast.parse(text)).encode()
            except (SyntaxError, ValueError):
                said = text
            found[blob] = hashlib.sha256(said).hexdigest()
        return found

    def answering(self, provider: str, sha: str) -> set[str]:
        """A provider, and whom it calls, and so on."""
        seen: set[str] = set()
        left = [provider]
        while left:
            service = left.pop()
            if service not in seen:
                seen.add(service)
                calls = calls_in(self.declaration(sha, service))
                left += [call.partition(".")[0] for call in calls]
        return seen

    @contextmanager
    def tree(self, sha: str) -> Iterator[Path]:
        """The files of a commit in a folder of their own, removed at the end."""
        with tempfile.TemporaryDirectory(prefix="cbs-version-") as folder:
            place = Path(folder) / sha[:SHORT]
            self._git("worktree", "add", "--detach", "--quiet", str(place), sha)
            try:
                yield place
            finally:
                self._git("worktree", "remove", "--force", str(place))


@lru_cache(maxsize=256)
def _content(history: GitHistory, provider: str, sha: str) -> str:
    own = (f"{SOURCES}/{each}" for each in sorted(history.answering(provider, sha)))
    return _meaning(history, sha, (*own, *history.shared(sha)))


def _meaning(history: GitHistory, sha: str, places: Sequence[str]) -> str:
    files = {path: blob for place in places for path, blob in history.blobs(sha, place).items()}
    python = sorted({blob for path, blob in files.items() if path.endswith(".py")})
    meanings = history.meanings(python)
    said = (f"{path} {meanings.get(blob, blob)}" for path, blob in sorted(files.items()))
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def pact_of(body: bytes) -> Pact:
    """Raises ValueError for what is no pact."""
    document = json.loads(body)
    try:
        return Pact(document["consumer"]["name"], document["provider"]["name"], body)
    except (KeyError, TypeError):
        raise ValueError("not a pact: it names no consumer and provider") from None
