"""Who may read what, and that what is made is what others expect."""

import stat
import time

import pytest

from cbs.bank import SERVICES
from cbs.kernel.principal import Kind
from cbs.platform.auth import Tokens
from cbs.platform.declaration import declaration_of
from cbs.tools.local import secrets, tokens
from cbs.tools.local.folder import Folder, NotABank


@pytest.fixture
def folder(tmp_path):
    folder = Folder.at(tmp_path / "bank")
    folder.found()
    secrets.make_all(folder)
    return folder


def test_only_the_banks_user_reads_anything_in_its_folder(folder):
    found = [folder.root, *folder.root.rglob("*")]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in found}
    assert len(found) > 30
    assert modes == {0o600, 0o700}


def test_secrets_are_made_once_and_a_loosened_file_is_closed_again(folder):
    before = {path: path.read_text() for path in folder.root.rglob("*") if path.is_file()}
    secrets.vault_key(folder).chmod(0o644)
    secrets.make_all(folder)
    assert {path: path.read_text() for path in folder.root.rglob("*") if path.is_file()} == before
    assert stat.S_IMODE(secrets.vault_key(folder).stat().st_mode) == 0o600


def test_no_two_secrets_are_the_same(folder):
    texts = [path.read_text() for path in folder["secrets"].iterdir()]
    assert len(set(texts)) == len(texts)


def test_a_key_is_of_one_service_and_known_to_backups(folder):
    keys = {service: secrets.keys_of(folder, service) for service in SERVICES}
    every = [file for files in keys.values() for file in files.values()]

    assert len(set(every)) == len(every)
    assert folder.secret("signing.key") not in every
    # Another key than this has to be recognised by ./cbs backup, and put back by ./cbs restore.
    assert every == [secrets.vault_key(folder)]
    for service in SERVICES:
        told = secrets.files_of(folder, service, nkey=True)
        for other in set(SERVICES) - {service}:
            assert not {str(file) for file in keys[other].values()} & set(told.values())


def test_an_operator_may_do_what_services_permit_and_an_importer_import(folder):
    users = {name: set(permissions) for name, permissions in tokens.users().items()}
    permitted = {each for service in SERVICES for each in declaration_of(service).permits}

    assert users["importer"] == permitted | {"operations.read", "operations.replay"}
    assert users["importer"] - users["operator"] == {"customers.import", "ledger.import"}
    assert users["teller"] < users["operator"]


def test_the_seed_of_a_bank_made_before_is_still_the_same_user():
    seed = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y"
    public = "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK"

    assert secrets.public_nkey(seed) == public
    assert secrets.new_nkey()[:2] == seed[:2] and len(secrets.new_nkey()) == len(seed)


def test_a_service_accepts_the_tokens_that_the_bank_made(folder):
    accepted = Tokens.of_file(folder.jwks)
    teller = accepted.principal(folder.token("teller").read_text())
    assert teller.kind is Kind.USER
    assert teller.may("payments.transfer")
    assert not teller.may("ledger.post")
    operator = accepted.principal(folder.token("operator").read_text())
    assert operator.may("ledger.post")
    assert not operator.may("customers.import")
    for service in SERVICES:
        itself = accepted.principal(secrets.service_token(folder, service).read_text())
        assert (itself.kind, itself.permissions) == (Kind.SERVICE, frozenset({"internal"}))


def test_a_token_is_renewed_before_it_expires_or_when_its_permissions_change():
    key = tokens.SigningKey.of_text("11" * 32)
    now = int(time.time())
    token = key.token(name="teller", kind="user", permissions=("a", "b"), at=now)
    assert not tokens.is_worn(token, key=key, permissions=("b", "a"), at=now)
    assert tokens.is_worn(token, key=key, permissions=("a",), at=now)
    later = now + (tokens.DAYS_VALID - tokens.DAYS_LEFT_MIN + 1) * tokens.DAY_SECONDS
    assert tokens.is_worn(token, key=key, permissions=("a", "b"), at=later)
    other = tokens.SigningKey.of_text("22" * 32)
    assert tokens.is_worn(token, key=other, permissions=("a", "b"), at=now)


def test_a_folder_that_holds_something_else_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("two years of work")
    with pytest.raises(NotABank):
        Folder.at(tmp_path).found()
    with pytest.raises(NotABank):
        Folder.at(tmp_path).erase()
    assert (tmp_path / "thesis.txt").exists()
