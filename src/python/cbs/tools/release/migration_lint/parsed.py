"""SQL is read by PostgreSQL's own parser (libpg_query, through postgast)."""

from collections.abc import Iterator
from dataclasses import dataclass

from postgast import PgQueryError, parse, scan, split, wrap
from postgast import pg_query_pb2 as pg
from postgast.nodes import AstNode, ParseResult


@dataclass(frozen=True, slots=True)
class Parsed:
    """A statement with the comments before and in it."""

    sql: str
    tree: AstNode

    def comments(self) -> list[str]:
        text = self.sql.encode()
        return [
            text[token.start : token.end].decode().strip("-/* \n")
            for token in scan(self.sql).tokens
            if token.token in (pg.SQL_COMMENT, pg.C_COMMENT)
        ]


@dataclass(frozen=True, slots=True)
class NotParsed:
    sql: str
    why: str


def parsed(script: str) -> list[Parsed | NotParsed]:
    """The statements of a script, in order; what PostgreSQL does not understand is among them."""
    if "\0" in script:  # C would read no further
        return [NotParsed(script, "it has a NUL character")]
    try:
        return list(_statements(script))
    except (PgQueryError, UnicodeEncodeError) as error:
        whole = NotParsed(script, f"PostgreSQL does not understand it: {error}")
    try:
        pieces = split(script, method="scanner")
    except (PgQueryError, UnicodeEncodeError):
        return [whole]
    if len(pieces) < 2:
        return [whole]
    return [statement for piece in pieces for statement in parsed(piece)]


def _statements(script: str) -> Iterator[Parsed]:
    tree, text, start = wrap(parse(script)), script.encode(), 0
    assert isinstance(tree, ParseResult)
    for raw in tree.stmts:
        assert raw.stmt is not None
        end = raw.stmt_location + raw.stmt_len if raw.stmt_len else len(text)
        yield Parsed(text[start:end].decode().lstrip("; \n"), raw.stmt)
        start = end
