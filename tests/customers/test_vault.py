import secrets

import pytest

from cbs.customers.domain.document import DocumentType, Number
from cbs.customers.store.customers import PostgresCustomers
from cbs.customers.store.vault import NotSealedHere, Vault
from cbs.platform.database import Database
from cbs.platform.outbox import PostgresOutbox
from cbs.platform.settings import Misconfigured
from tests.customers.people import some_id

NUMBER = Number("234123412346")


@pytest.fixture
def vault(vault_key) -> Vault:
    return Vault(vault_key)


def test_what_is_sealed_opens_for_its_own_document_only(vault):
    id = some_id()
    sealed = vault.seal(NUMBER, document_id=id)

    assert NUMBER.whole.encode() not in sealed
    assert vault.open(sealed, document_id=id) == NUMBER
    with pytest.raises(NotSealedHere):
        vault.open(sealed, document_id=some_id())


def test_the_same_number_is_never_sealed_the_same_way(vault):
    id = some_id()

    assert vault.seal(NUMBER, document_id=id) != vault.seal(NUMBER, document_id=id)


@pytest.mark.parametrize("place", [0, 5, 20, -1])
def test_what_was_tampered_with_does_not_open(vault, place):
    id = some_id()
    sealed = bytearray(vault.seal(NUMBER, document_id=id))
    sealed[place] ^= 1

    with pytest.raises(NotSealedHere):
        vault.open(bytes(sealed), document_id=id)


def test_an_index_depends_on_the_key_and_on_all_of_the_document(vault, tmp_path):
    def index(vault, type=DocumentType.AADHAAR, issuer="IN", number=NUMBER):
        return vault.index((type, issuer, number))

    other = tmp_path / "other.key"
    other.write_text(secrets.token_hex(32))
    one = index(vault)

    assert one == index(vault)
    others = [
        index(Vault(other)),
        index(vault, type=DocumentType.PASSPORT),
        index(vault, issuer="CZ"),
        index(vault, number=Number("234123412347")),
    ]
    assert one not in others


@pytest.mark.parametrize("text", ["", "00" * 31, "00" * 33, "zz" * 32])
def test_a_key_that_is_none_is_refused_without_being_shown(tmp_path, text):
    file = tmp_path / "bad.key"
    file.write_text(text)

    with pytest.raises(Misconfigured) as refused:
        Vault(file).seal(NUMBER, document_id=some_id())

    assert not text or text not in str(refused.value)


async def test_a_database_is_served_with_the_key_it_was_begun_with_only(database, vault, tmp_path):
    other = tmp_path / "other.key"
    other.write_text(secrets.token_hex(32))
    place = Database(database("customers").runtime_url)
    store = PostgresCustomers(
        database=place,
        outbox=PostgresOutbox(service="customers", publishes=(), database=place),
        vault=vault,
    )
    await place.open()
    try:
        await vault.check(store)
        await vault.check(store)
        with pytest.raises(Misconfigured):
            await Vault(other).check(store)
    finally:
        await place.close()
