"""One change in a committed document is one finding, and its sentence is the right way round."""

import copy
import json
from pathlib import Path

import pytest

from cbs.tools.release.schema_diff.shapes import Unreadable
from cbs.tools.release.schema_diff.specs import SchemaChange, asyncapi_changes, openapi_changes

CONTRACTS = Path(__file__).parents[2] / "contracts"
DOCUMENTS = sorted(CONTRACTS.glob("*api/*.json"))
TRANSFER = "POST /v1/payments/transfers"
LIST = "GET /v1/payments/transfers"


def document(kind, service):
    return json.loads((CONTRACTS / kind / f"{service}.json").read_text())


def differ(path):
    return openapi_changes if path.parent.name == "openapi" else asyncapi_changes


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_document_is_no_change_of_itself(path):
    text = path.read_text()
    assert differ(path)(json.loads(text), json.loads(text)) == []


def test_there_are_documents_to_compare():
    assert len(DOCUMENTS) == 10


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_is_told_comes_in_the_same_order_whatever_the_order_of_keys(path):
    before = json.loads(path.read_text())
    after = {"openapi": "3.1.0", "asyncapi": "3.0.0"}
    backwards = json.loads(json.dumps(before, sort_keys=True), object_pairs_hook=reverse)

    told = differ(path)(before, after)
    assert told and differ(path)(backwards, after) == told
    assert all(change.breaking for change in told)
    assert not any(change.breaking for change in differ(path)(after, before))


def reverse(pairs):
    return dict(reversed(pairs))


def wanted(d):
    return d["components"]["schemas"]["TransferWanted"]


def view(d):
    """What the reply of one operation alone shows: the others are left as they were."""
    components = d["components"]["schemas"]
    operation(d)["responses"]["201"]["content"]["application/json"]["schema"] = {
        "$ref": "#/components/schemas/Mine"
    }
    return components.setdefault("Mine", copy.deepcopy(components["TransferView"]))


def operation(d):
    return d["paths"]["/v1/payments/transfers"]["post"]


def reply(d):
    return operation(d)["responses"]


def query(d, name):
    parameters = d["paths"]["/v1/payments/transfers"]["get"]["parameters"]
    return next(p for p in parameters if p["name"] == name)


def money(d, where=wanted):
    return where(d)["properties"]["amount_minor"]


def own_currency(d, where, change):
    values = d["components"]["schemas"]["Currency"]["enum"]
    where(d)["properties"]["currency"] = {"type": "string", "enum": change(values)}


def put(target, **values):
    target.update(values)


def rename_path(d):
    paths = d["paths"]
    item = paths.pop("/v1/payments/transfers/{transfer_id}")
    for parameter in item["get"]["parameters"]:
        if parameter["name"] == "transfer_id":
            parameter["name"] = "id"
    paths["/v1/payments/transfers/{id}"] = item


REQUEST = [
    ("must", lambda d: wanted(d)["required"].append("narrative"), ".narrative", True),
    ("may", lambda d: wanted(d)["required"].remove("currency"), ".currency", False),
    ("gone", lambda d: wanted(d)["properties"].pop("narrative"), ".narrative", True),
    ("new", lambda d: put(wanted(d)["properties"], memo={"type": "string"}), ".memo", False),
    ("less", lambda d: put(money(d), maximum=100), ".amount_minor", True),
    ("more", lambda d: put(money(d), maximum=2e15), ".amount_minor", False),
    ("no most", lambda d: money(d).pop("maximum"), ".amount_minor", False),
    ("least up", lambda d: put(money(d), minimum=100), ".amount_minor", True),
    ("steps", lambda d: put(money(d), multipleOf=100), ".amount_minor", True),
    ("text", lambda d: put(money(d), type="string"), ".amount_minor", True),
    ("fractions", lambda d: put(money(d), type="number"), ".amount_minor", False),
    ("or null", lambda d: put(money(d), type=["integer", "null"]), ".amount_minor", False),
    ("anything", lambda d: put(wanted(d)["properties"], amount_minor={}), ".amount_minor", False),
    ("open", lambda d: wanted(d).pop("additionalProperties"), "", False),
    (
        "shorter",
        lambda d: put(wanted(d)["properties"]["narrative"], maxLength=35),
        ".narrative",
        True,
    ),
    (
        "longer",
        lambda d: put(wanted(d)["properties"]["narrative"], maxLength=500),
        ".narrative",
        False,
    ),
    (
        "pattern",
        lambda d: put(wanted(d)["properties"]["narrative"], pattern="^[a-z]*$"),
        ".narrative",
        True,
    ),
    (
        "no pattern",
        lambda d: wanted(d)["properties"]["narrative"].pop("pattern"),
        ".narrative",
        False,
    ),
    (
        "format",
        lambda d: put(wanted(d)["properties"]["narrative"], format="iban"),
        ".narrative",
        True,
    ),
    (
        "no format",
        lambda d: wanted(d)["properties"]["remitter_account"].pop("format"),
        ".remitter_account",
        False,
    ),
    (
        "default",
        lambda d: put(wanted(d)["properties"]["narrative"], default="transfer"),
        ".narrative",
        True,
    ),
    ("fewer values", lambda d: own_currency(d, wanted, lambda v: v[1:]), ".currency", True),
    ("more values", lambda d: own_currency(d, wanted, lambda v: [*v, "CHF"]), ".currency", False),
    ("any text", lambda d: put(wanted(d)["properties"], currency={"type": "string"}), ".currency",
     False),
    ("one value", lambda d: own_currency(d, wanted, lambda v: v[:1]), ".currency", True),
    ("not", lambda d: put(money(d), **{"not": {"const": 13}}), ".amount_minor", True),
]  # fmt: skip
REPLY = [
    ("gone", lambda d: view(d)["properties"].pop("narrative"), ".narrative", True),
    ("may", lambda d: view(d)["required"].remove("narrative"), ".narrative", True),
    ("new", lambda d: put(view(d)["properties"], fee={"type": "integer"}), ".fee", False),
    ("text", lambda d: put(money(d, view), type="string"), ".amount_minor", True),
    ("fractions", lambda d: put(money(d, view), type="number"), ".amount_minor", True),
    ("or null", lambda d: put(money(d, view), type=["integer", "null"]), ".amount_minor", True),
    ("at most", lambda d: put(money(d, view), maximum=100), ".amount_minor", False),
    ("format", lambda d: put(view(d)["properties"]["id"], format="date"), ".id", True),
    ("no format", lambda d: view(d)["properties"]["id"].pop("format"), ".id", True),
    ("fewer values", lambda d: own_currency(d, view, lambda v: v[1:]), ".currency", False),
    ("more values", lambda d: own_currency(d, view, lambda v: [*v, "CHF"]), ".currency", True),
    ("closed", lambda d: put(view(d), additionalProperties=False), "", False),
]


@pytest.mark.parametrize(("change", "where", "breaking"), [r[1:] for r in REQUEST],
                         ids=[r[0] for r in REQUEST])  # fmt: skip
def test_a_changed_request_is_told(change, where, breaking):
    assert told(change) == [(f"{TRANSFER} body{where}", breaking)]


@pytest.mark.parametrize(("change", "where", "breaking"), [r[1:] for r in REPLY],
                         ids=[r[0] for r in REPLY])  # fmt: skip
def test_a_changed_reply_is_told(change, where, breaking):
    assert told(change) == [(f"{TRANSFER} reply 201 body{where}", breaking)]


def told(change, kind="openapi", service="payments"):
    before, after = document(kind, service), document(kind, service)
    change(after)
    assert after != before
    compare = openapi_changes if kind == "openapi" else asyncapi_changes
    return [(c.where, c.breaking) for c in compare(before, after)]


KEY = {"in": "header", "name": "X-Branch", "schema": {"type": "string"}}
LIST_PAGE = "/v1/payments/transfers"


@pytest.mark.parametrize(
    ("change", "where", "breaking"),
    [
        (lambda d: d["paths"][LIST_PAGE].pop("get"), LIST, True),
        (lambda d: put(d["paths"][LIST_PAGE], delete=operation(d)), f"DELETE {LIST_PAGE}", False),
        (lambda d: operation(d)["parameters"].append({**KEY, "required": True}),
         f"{TRANSFER} header X-Branch", True),
        (lambda d: operation(d)["parameters"].append(KEY), f"{TRANSFER} header X-Branch", False),
        (lambda d: put(operation(d)["parameters"][0], required=False),
         f"{TRANSFER} header Idempotency-Key", False),
        (lambda d: put(operation(d)["parameters"][0], name="idempotency-key"),
         None, False),
        (lambda d: operation(d)["parameters"].clear(), f"{TRANSFER} header Idempotency-Key", True),
        (lambda d: put(query(d, "limit"), required=True), f"{LIST} query limit", True),
        (lambda d: put(query(d, "limit")["schema"], maximum=50), f"{LIST} query limit", True),
        (lambda d: put(query(d, "limit")["schema"], default=10), f"{LIST} query limit", True),
        (lambda d: put(query(d, "limit"), explode=False), f"{LIST} query limit", True),
        (rename_path, None, False),
        (lambda d: put(operation(d), security=[]), TRANSFER, True),
        (lambda d: put(operation(d), security=[{"bearer": ["pay"]}]), TRANSFER, True),
        (lambda d: put(operation(d), operationId="payments.pay"), TRANSFER, False),
        (lambda d: put(operation(d), deprecated=True), TRANSFER, False),
        (lambda d: put(operation(d), summary="Another", tags=["money"]), None, False),
        (lambda d: operation(d).pop("requestBody"), f"{TRANSFER} body", True),
        (lambda d: put(operation(d)["requestBody"], required=False), f"{TRANSFER} body", False),
        (lambda d: put(operation(d)["requestBody"]["content"], **{"text/csv": {}}),
         f"{TRANSFER} body (text/csv)", False),
        (lambda d: put(reply(d), **{"202": reply(d).pop("201")}), f"{TRANSFER} reply", True),
        (lambda d: put(reply(d), **{"200": reply(d)["201"]}), f"{TRANSFER} reply", True),
        (lambda d: reply(d).pop("201"), f"{TRANSFER} reply", True),
        (lambda d: reply(d)["201"].pop("content"), f"{TRANSFER} reply 201 body", True),
        (lambda d: put(reply(d)["201"]["headers"], Location={"schema": {"type": "string"}}),
         f"{TRANSFER} reply 201 header location", False),
    ],
)  # fmt: skip
def test_a_changed_operation_is_told(change, where, breaking):
    assert told(change) == ([] if where is None else [(where, breaking)])


def codes(d, status, old, new):
    assert old in reply(d)[status]["description"]
    reply(d)[status]["description"] = reply(d)[status]["description"].replace(old, new)


def to_another_status(d):
    codes(d, "409", "account-closed, ", "")
    codes(d, "403", "not-permitted", "not-permitted, account-closed")


def problem(d):
    return d["components"]["schemas"]["Problem"]


@pytest.mark.parametrize(
    ("change", "where", "breaking"),
    [
        (to_another_status, "refusal account-closed", True),
        (lambda d: codes(d, "409", "account-closed", "account-gone"), "refusal 409", True),
        (lambda d: codes(d, "409", "account-closed, ", ""), "refusal 409", False),
        (lambda d: codes(d, "409", "account-closed", "account-closed, too-late"), "refusal 409",
         False),
        (lambda d: put(reply(d), **{"413": {**reply(d)["400"], "description": "too-large"}}),
         "refusal 413", False),
        (lambda d: put(reply(d), **{"413": {**reply(d)["400"], "description": "Too large."}}),
         "refusal 413", False),
        (lambda d: reply(d).pop("503"), "refusal 503", False),
    ],
)  # fmt: skip
def test_a_changed_refusal_is_told(change, where, breaking):
    assert told(change) == [(f"{TRANSFER} {where}", breaking)]


def test_a_changed_problem_document_is_told_once_an_operation():
    found = told(lambda d: problem(d)["required"].remove("type"))

    operations = sum(len(item) for item in document("openapi", "payments")["paths"].values())
    assert len(found) == operations > 5
    assert (f"{TRANSFER} refusal body.type", True) in found


def schema(d, name):
    return d["components"]["schemas"][name]


def fields(d, name):
    return schema(d, name)["properties"]


def own_leg(d):
    d["components"]["schemas"]["Mine"] = copy.deepcopy(schema(d, "LegView"))
    fields(d, "TransactionPosted")["legs"]["items"] = {"$ref": "#/components/schemas/Mine"}
    return schema(d, "Mine")


POSTED, POST = "fact transaction-posted", "post request"


@pytest.mark.parametrize(
    ("change", "where", "breaking"),
    [
        (lambda d: own_leg(d)["properties"].pop("account"), f"{POSTED} data.legs[].account", True),
        (lambda d: own_leg(d)["required"].remove("account"), f"{POSTED} data.legs[].account", True),
        (lambda d: put(fields(d, "TransactionPosted"), note={"type": "string"}),
         f"{POSTED} data.note", False),
        (lambda d: d["operations"].pop("publish-transaction-posted"), POSTED, True),
        (lambda d: put(d["channels"]["transaction-posted"], address="cbs.ledger.events.posted"),
         POSTED, True),
        (lambda d: put(d["channels"]["post-request"], address="cbs.ledger.book"), POST, True),
        (lambda d: put(d["components"]["messages"]["post-request"], contentType="text/xml"), POST,
         True),
        (lambda d: d["operations"].pop("post"), "post", True),
        (lambda d: put(d["operations"], book=d["operations"]["post"]), "book", False),
        (lambda d: d["operations"]["post"].pop("reply"), "post reply", True),
        (lambda d: put(fields(d, "Post")["kind"], pattern="^[a-z]+$"), f"{POST} kind", True),
        (lambda d: put(fields(d, "Post")["legs"], maxItems=10), f"{POST} legs", True),
        (lambda d: put(fields(d, "Post")["legs"], maxItems=200), f"{POST} legs", False),
        (lambda d: put(fields(d, "LegWanted"), memo={"type": "string"}), f"{POST} legs[].memo",
         False),
        (lambda d: put(fields(d, "LegWanted")["amount_minor"], minimum=1),
         f"{POST} legs[].amount_minor", True),
        (lambda d: fields(d, "Post")["value_on"]["anyOf"].pop(), f"{POST} value_on", True),
        (lambda d: put(fields(d, "History"), before={"type": "integer", "minimum": 1}),
         "history request before", True),
        (lambda d: put(fields(d, "FactsPage"), more={"type": "boolean"}), "facts reply more",
         False),
    ],
)  # fmt: skip
def test_what_changed_on_the_bus_is_told(change, where, breaking):
    found = told(change, "asyncapi", "ledger")
    assert (where, breaking) in found and {place for place, _ in found} == {where}, found


def test_the_envelope_is_part_of_every_fact():
    found = told(lambda d: schema(d, "CloudEvent")["required"].remove("actor"), "asyncapi", "audit")

    facts = [o for o in document("asyncapi", "audit")["operations"].values()
             if o["action"] == "send"]  # fmt: skip
    assert len(found) == len(facts) > 0
    assert all(where.endswith(" actor") and breaking for where, breaking in found)


def test_a_change_reads_as_a_sentence():
    before, after = document("openapi", "payments"), document("openapi", "payments")
    put(money(after), maximum=100)

    assert openapi_changes(before, after) == [
        SchemaChange(
            "POST /v1/payments/transfers body.amount_minor",
            "the value is at most 100, not 1000000000000000",
            True,
        )
    ]


def test_a_reference_that_leads_nowhere_is_no_answer():
    before, after = document("openapi", "payments"), document("openapi", "payments")
    del after["components"]["schemas"]["Kind"]

    with pytest.raises(Unreadable, match="schemas/Kind is not in the document"):
        openapi_changes(before, after)
