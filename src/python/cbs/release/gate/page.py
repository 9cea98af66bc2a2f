"""The matrix as a page of its own: who and whom, coloured, with nothing to fetch."""

from cbs.release.gate.matrix import Matrix


def html(matrix: Matrix) -> str:
    raise NotImplementedError
