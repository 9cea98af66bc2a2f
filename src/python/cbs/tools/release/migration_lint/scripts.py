"""A script of PostgreSQL is cut at its semicolons and nowhere else, and no character is lost."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"""
      (?P<space>\s+|--[^\n]*)
    | (?P<comment>/\*)
    | (?P<text>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\$((?:[A-Za-z_]\w*)?)\$.*?\$\4\$)
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<word>[^\W\d][\w$]*)
    | (?P<other>\d+(?:\.\d+)?|::|.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str


def tokens(script: str) -> Iterator[Token]:
    """Every character, in order; comments are space."""
    at = 0
    while at < len(script):
        match = TOKEN.match(script, at)
        assert match is not None and match.lastgroup is not None, script[at : at + 20]
        kind, end = match.lastgroup, match.end()
        if kind == "comment":
            kind, end = "space", _comment_end(script, at)
        yield Token(kind, script[at:end])
        at = end


def _comment_end(script: str, at: int) -> int:
    """Comments nest, unlike in C; one that is never closed takes the rest."""
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(script, at):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return match.end()
    return len(script)


def split(script: str) -> list[str]:
    """The statements with what stands around them; joined, they are the script."""
    statements, current = [], ""
    for token in tokens(script):
        current += token.text
        if token.text == ";":
            statements.append(current)
            current = ""
    return [*statements, current] if current else statements


def comments(statement: str) -> list[str]:
    return [
        token.text.strip("-/* \n")
        for token in tokens(statement)
        if token.kind == "space" and not token.text.isspace()
    ]


@dataclass(slots=True)
class Words:
    """The words of a statement, read from the left. Keywords and plain names are in lower case."""

    all: Sequence[str]
    at: int = field(default=0)

    @classmethod
    def of(cls, statement: str) -> "Words":
        some = [token for token in tokens(statement) if token.kind != "space" and token.text != ";"]
        return cls([t.text.lower() if t.kind in ("word", "other") else t.text for t in some])

    @property
    def rest(self) -> Sequence[str]:
        return self.all[self.at :]

    def take(self, *phrase: str) -> bool:
        """Goes past the phrase, if it comes next."""
        found = tuple(self.all[self.at : self.at + len(phrase)]) == phrase
        self.at += len(phrase) if found else 0
        return found

    def maybe(self, *phrases: str) -> None:
        for phrase in phrases:
            self.take(*phrase.split())

    def word(self) -> str:
        self.at += 1
        return self.all[self.at - 1] if self.at <= len(self.all) else ""

    def until(self, stop: str) -> list[str]:
        """Goes past a word and gives what stood before it."""
        passed = []
        while self.rest and not self.take(stop):
            passed.append(self.word())
        return passed

    def name(self) -> str:
        """A name without its schema and quotes; empty if none comes."""
        name = self.word()
        while self.take("."):
            name = self.word()
        return unquoted(name)

    def names(self) -> list[str]:
        """Names between commas, each perhaps with arguments in brackets after it."""
        found = []
        while True:
            self.maybe("only")
            found.append(self.name())
            self.take("*")
            if self.rest[:1] == ["("]:
                self.bracket()
            if not self.take(","):
                return found

    def bracket(self) -> Sequence[str]:
        """Goes past a bracket and gives what is inside."""
        start, depth = self.at, 0
        while self.at < len(self.all):
            depth += {"(": 1, ")": -1}.get(self.word(), 0)
            if depth == 0:
                break
        return self.all[start + 1 : self.at - 1]


def parts(words: Sequence[str]) -> list[Sequence[str]]:
    """Cut at the commas that are in no bracket."""
    found: list[list[str]] = [[]]
    depth = 0
    for word in words:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(word, 0)
        if word == "," and depth == 0:
            found.append([])
        else:
            found[-1].append(word)
    return [part for part in found if part]


def outside(words: Sequence[str]) -> list[str]:
    """The words that are in no bracket."""
    found, depth = [], 0
    for word in words:
        depth -= word == ")"
        if depth == 0 and word != ")":
            found.append(word)
        depth += word == "("
    return found


def unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
