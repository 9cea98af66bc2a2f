"""The tree and its proofs are those of RFC 9162, whatever the sizes."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cbs.kernel import merkle
from cbs.kernel.merkle import Subtree, Tree
from tests.audit import rfc9162

LEAVES = st.lists(st.binary(max_size=8), min_size=1, max_size=70)

# The test vectors of Certificate Transparency's own implementation (RFC 6962 and 9162 hash alike).
VECTOR = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
VECTOR_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def grown(leaves: list[bytes]) -> tuple[Tree, dict[Subtree, bytes]]:
    """The tree, and the hashes of all its complete subtrees."""
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    tree, completed = Tree().appended(hashes)
    return tree, completed | {Subtree(0, n): leaf for n, leaf in enumerate(hashes)}


def proof(parts: list[range], known: dict[Subtree, bytes]) -> list[bytes]:
    return [merkle.joined([known[place] for place in merkle.subtrees(part)]) for part in parts]


@pytest.mark.parametrize("size", range(1, 9))
def test_the_known_trees_have_the_known_roots(size):
    assert grown(VECTOR[:size])[0].root.hex() == VECTOR_ROOTS[size - 1]


def test_the_empty_tree_hashes_nothing():
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Tree().root.hex() == empty == rfc9162.tree_hash([]).hex()


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        (0, 1, []),
        (
            0,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            2,
            3,
            ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
        ),
    ],
)
def test_the_known_leaves_have_the_known_paths(index, size, path):
    known = grown(VECTOR[:size])[1]
    assert [each.hex() for each in proof(merkle.inclusion(index, size), known)] == path


@given(LEAVES, st.data())
def test_however_it_grew_the_root_is_that_of_the_definition(leaves, data):
    cut = data.draw(st.integers(0, len(leaves)))
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    some, first = Tree().appended(hashes[:cut])
    all_, second = some.appended(hashes[cut:])

    assert some.root == rfc9162.tree_hash(leaves[:cut])
    assert all_.root == rfc9162.tree_hash(leaves)
    assert not first.keys() & second.keys(), "a subtree is completed once"
    assert len(first) + len(second) == len(leaves) - len(leaves).bit_count()


@given(LEAVES, st.data())
def test_every_leaf_of_every_tree_is_proved(leaves, data):
    size = data.draw(st.integers(1, len(leaves)))
    index = data.draw(st.integers(0, size - 1))
    path = proof(merkle.inclusion(index, size), grown(leaves)[1])
    leaf, root = merkle.leaf_hash(leaves[index]), rfc9162.tree_hash(leaves[:size])

    assert path == rfc9162.inclusion_path(index, leaves[:size])
    assert rfc9162.includes(leaf, index, size, path, root)


@given(LEAVES, st.data())
def test_every_tree_begins_every_later_one(leaves, data):
    second = data.draw(st.integers(1, len(leaves)))
    first = data.draw(st.integers(1, second))
    path = proof(merkle.consistency(first, second), grown(leaves)[1])
    roots = rfc9162.tree_hash(leaves[:first]), rfc9162.tree_hash(leaves[:second])

    assert path == rfc9162.consistency_path(first, leaves[:second])
    assert rfc9162.begins(first, second, *roots, path)


@given(LEAVES, st.data())
def test_a_changed_leaf_is_not_proved(leaves, data):
    index = data.draw(st.integers(0, len(leaves) - 1))
    other = data.draw(st.binary(max_size=8))
    assume(other != leaves[index])
    path = proof(merkle.inclusion(index, len(leaves)), grown(leaves)[1])
    root = rfc9162.tree_hash(leaves)

    assert not rfc9162.includes(merkle.leaf_hash(other), index, len(leaves), path, root)


@given(st.integers(1, 2**40), st.data())
def test_proofs_of_large_logs_need_few_hashes(size, data):
    index = data.draw(st.integers(0, size - 1))
    parts = [*merkle.inclusion(index, size), *merkle.consistency(index + 1, size)]
    assert sum(len(merkle.subtrees(part)) for part in parts) <= 4 * size.bit_length()


def test_a_tree_is_what_its_peaks_say_and_a_proof_is_of_what_it_holds():
    leaf = merkle.leaf_hash(b"")
    for size, peaks in ((0, (leaf,)), (1, ()), (2, (leaf, leaf)), (3, (leaf,))):
        with pytest.raises(AssertionError):
            Tree(size, peaks)
    for index, size in ((-1, 1), (1, 1), (0, 0)):
        with pytest.raises(AssertionError):
            merkle.inclusion(index, size)
    for first, second in ((0, 1), (2, 1), (-1, 1)):
        with pytest.raises(AssertionError):
            merkle.consistency(first, second)
    with pytest.raises(AssertionError, match="no part"):
        merkle.subtrees(range(1, 3))
