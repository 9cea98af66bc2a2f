"""A Pact Broker as its resources say (lib/pact_broker/api, fd6e5b6), for as long as a test runs.

It keeps real state, and refuses what the real one would: an unknown path, another content type, a
body that its schemas do not let through. There is no broker to be had in Python to hold it to.
"""

import base64
import hashlib
import json
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
MERGE_PATCH, JSON = "application/merge-patch+json", "application/json"
CONTRACT_KEYS = {"consumerName", "providerName", "specification", "contentType", "content"}
BRANCH_KEYS = {"mainBranch", "matchingBranch", "deployedOrReleased"}
MAIN_BRANCHES = ("develop", "main", "master")


class Answer(Exception):
    def __init__(self, status, body=None):
        super().__init__(status, body)
        self.status, self.body = status, body or {}


def invalid(**errors):
    return Answer(400, {"errors": {name: [why] for name, why in errors.items()}})


class FakeBroker:
    """`versions`: (application, version) -> its branches. `token`: what is asked of everybody."""

    def __init__(self, token=None):
        self.url, self.token = "", token
        self.lock = threading.Lock()
        self.asked = []  # (method, path, body)
        self.versions, self.pacts, self.contents = {}, {}, {}
        self.verified = []  # (pact version, provider version, success, test results)
        self.environments, self.deployed, self.released = {}, [], []
        self._ticks = 0

    def now(self):
        self._ticks += 1
        return (START + timedelta(seconds=self._ticks)).isoformat()

    # --- what is asked, by method and the parts of the path --------------------------------------

    def answer(self, method, path, query, body, kind):
        parts = [unquote(part) for part in path.strip("/").split("/")]
        match [method, *parts]:
            case ["GET", "pacticipants", name, "versions", number]:
                return 200, self._version(name, number)
            case ["PUT", "pacticipants", name, "versions", number]:
                wants(kind, JSON)
                self.versions.setdefault((name, number), [])
                return 201, self._version(name, number)
            case ["PUT", "pacticipants", name, "branches", branch, "versions", number]:
                wants(kind, JSON)
                self._branch(name, number, branch)
                return 201, {"_links": {"self": {"href": f"{self.url}{path}"}}}
            case ["POST", "contracts", "publish"]:
                wants(kind, JSON)
                return 200, self._publish(body)
            case ["GET", "pacts", "provider", provider, "consumer", consumer, "version", number]:
                return 200, self._pact(consumer, number, provider)
            case ["GET", "pacts", "provider", provider, "consumer", consumer, "pact-version", sha]:
                number = [k[1] for k, v in self.pacts.items() if v == sha][-1]
                return 200, self._pact(consumer, number, provider)
            case ["POST", "pacts", "provider", _, "consumer", _, "pact-version", sha, *rest] if (
                rest[-1] == "verification-results"
            ):
                wants(kind, JSON)
                return 201, self._verify(path, sha, body)
            case ["GET", "pacts", *_, "verification-results", number]:
                if not 0 < int(number) <= len(self.verified):
                    raise Answer(404)
                _, version, success, results = self.verified[int(number) - 1]
                shown = {"success": success, "providerApplicationVersion": version}
                return 200, shown | {"testResults": results}
            case ["POST", "pacts", "provider", provider, "for-verification"]:
                wants(kind, JSON)
                return 200, self._select(provider, body)
            case ["GET", "integrations"]:
                pairs = dict.fromkeys((consumer, provider) for consumer, _, provider in self.pacts)
                rows = [{"consumer": {"name": c}, "provider": {"name": p}} for c, p in pairs]
                return 200, {"_embedded": {"integrations": rows}}
            case ["GET", "matrix"]:
                return 200, {"matrix": self._matrix(query)}
            case ["GET", "can-i-deploy"]:
                return 200, self._can_i_deploy(dict(query))
        return self._answer_of_environments(method, parts, body, kind)

    def _answer_of_environments(self, method, parts, body, kind):
        match [method, *parts]:
            case ["GET", "environments"]:
                shown = [{"uuid": u, "name": n} for n, u in self.environments.items()]
                return 200, {"_embedded": {"environments": shown}}
            case ["POST", "environments"]:
                wants(kind, JSON)
                return 201, self._make_environment(body)
            case ["GET", "environments", uuid, "deployed-versions", "currently-deployed"]:
                self._named(uuid)
                return 200, {"_embedded": {"deployedVersions": shown_of(self.deployed, uuid)}}
            case ["GET", "environments", uuid, "released-versions", "currently-supported"]:
                self._named(uuid)
                return 200, {"_embedded": {"releasedVersions": shown_of(self.released, uuid)}}
            case ["POST", "pacticipants", name, "versions", number, what, "environment", uuid] if (
                what in ("deployed-versions", "released-versions")
            ):
                wants(kind, JSON)
                self._version(name, number)
                self._named(uuid)
                return 201, self._put(name, number, uuid, released=what == "released-versions")
            case ["PATCH", ("deployed-versions" | "released-versions") as what, uuid]:
                wants(kind, MERGE_PATCH)
                is_released = what == "released-versions"
                key = "currentlySupported" if is_released else "currentlyDeployed"
                if body != {key: False}:
                    raise invalid(**{key: "can only be set to false"})
                puts = self.released if is_released else self.deployed
                found = [put for put in puts if put["uuid"] == uuid] or gone()
                puts.remove(found[0])
                return 200, {"uuid": uuid, key: False}
        raise Answer(404)

    # --- what it does ----------------------------------------------------------------------------

    def _version(self, name, number):
        if (name, number) not in self.versions:
            raise Answer(404, {"error": {"message": "not found"}})
        return {"number": number, "_embedded": {"branches": self.versions[name, number]}}

    def _branch(self, name, number, branch):
        branches = self.versions.setdefault((name, number), [])
        if branch not in branches:
            branches.append(branch)

    def _publish(self, body):
        for key in ("pacticipantName", "pacticipantVersionNumber"):
            if not isinstance(body.get(key), str) or not body[key].strip():
                raise invalid(**{key: "must be filled"})
        if not isinstance(body.get("contracts"), list):
            raise invalid(contracts="is missing")
        name, number = body["pacticipantName"], body["pacticipantVersionNumber"]
        for each in body["contracts"]:
            if set(each) - {"onConflict"} != CONTRACT_KEYS or each["consumerName"] != name:
                raise invalid(contracts="is not as the schema says")
            if (each["specification"], each["contentType"]) != ("pact", JSON):
                raise invalid(contracts="must be one of: pact")
            content = json.loads(base64.b64decode(each["content"], validate=True))
            if content["consumer"]["name"] != name:
                raise invalid(contracts="does not match consumerName")
            sha = hashlib.sha1(json.dumps(content, sort_keys=True).encode()).hexdigest()
            place = (name, number, each["providerName"])
            if self.pacts.get(place, sha) != sha:
                raise Answer(409, {"errors": {"contracts": ["cannot change the content"]}})
            self.pacts[place], self.contents[sha] = sha, content
            self.versions.setdefault((name, number), [])
        if body.get("branch"):
            self._branch(name, number, body["branch"])
        return {"notices": [], "_links": {}}

    def _pact(self, consumer, number, provider):
        sha = self.pacts.get((consumer, number, provider)) or gone()
        place = f"{self.url}/pacts/provider/{quote(provider)}/consumer/{quote(consumer)}"
        publish = f"{place}/pact-version/{sha}/metadata/Y3Y9MQ/verification-results"
        return self.contents[sha] | {
            "createdAt": START.isoformat(),
            "_links": {
                "self": {"href": f"{place}/version/{quote(number)}"},
                "pb:consumer-version": {"title": "Consumer version", "name": number, "href": "-"},
                "pb:consumer-versions": [{"name": number, "href": "-"}],
                "pb:publish-verification-results": {"href": publish},
            },
        }

    def _verify(self, path, sha, body):
        if sha not in self.contents:
            raise Answer(404)
        version = body.get("providerApplicationVersion")
        if not isinstance(body.get("success"), bool) or not isinstance(version, str) or not version:
            raise invalid(success="must be boolean")
        self.versions.setdefault((self.contents[sha]["provider"]["name"], version), [])
        self.verified.append((sha, version, body["success"], body.get("testResults")))
        return {"success": body["success"], "_links": {"self": {"href": f"{self.url}{path}/1"}}}

    def _of(self, sha, version):
        """The number of the latest verification of a pact's content with a provider's version."""
        numbers = [n for n, (s, v, _, _) in enumerate(self.verified, 1) if (s, v) == (sha, version)]
        return numbers[-1] if numbers else None

    def _matrix(self, query):
        names = [v for k, v in query if k == "q[][pacticipant]"]
        numbers = [v for k, v in query if k == "q[][version]"]
        if len(names) != 2 or len(numbers) not in (0, 2) or ("latestby", "cvpv") not in query:
            raise invalid(q="is not as a selector is")
        rows = []
        for (consumer, number, provider), sha in self.pacts.items():
            if {consumer, provider} != set(names) or (numbers and number != numbers[0]):
                continue
            place = f"{self.url}/pacts/provider/{provider}/consumer/{consumer}/pact-version/{sha}"
            versions = dict.fromkeys(v for s, v, _, _ in self.verified if s == sha)
            for version in [v for v in versions if not numbers or v == numbers[1]] or [None]:
                href = f"{place}/metadata/{number}/verification-results/{self._of(sha, version)}"
                row = {"_links": {"self": {"href": href}}}
                rows.append({"verificationResult": row if version else None})
        return rows

    def _can_i_deploy(self, query):
        name, number, to = (query.get(key) for key in ("pacticipant", "version", "environment"))
        if not name or not number or not to:
            raise invalid(pacticipant="is missing")
        if to not in self.environments or not any(name == known for known, _ in self.versions):
            raise invalid(environment=f"Environment with name '{to}' does not exist")
        here = {
            (put["name"], put["number"])
            for put in self.deployed + self.released
            if put["environment"] == self.environments[to]
        }
        needs = [(sha, p) for (c, v, p), sha in self.pacts.items() if (c, v) == (name, number)]
        found = [(sha, v) for sha, p in needs for n, v in here if n == p]
        missing = {p for _, p in needs} - {n for n, _ in here}
        found += [
            (s, number) for (c, v, p), s in self.pacts.items() if p == name and (c, v) in here
        ]
        results = [self.verified[n - 1][2] if (n := self._of(*each)) else None for each in found]
        results += [None] * len(missing)
        deployable = False if False in results else None if None in results else True
        return {"summary": {"deployable": deployable, "reason": f"results: {results}"}}

    def _select(self, provider, body):
        branch = body.get("providerVersionBranch")
        for each in body.get("consumerVersionSelectors", []):
            if not each or set(each) - BRANCH_KEYS or set(each.values()) != {True} or not branch:
                raise invalid(consumerVersionSelectors="must specify a value")
        keys = {key for each in body.get("consumerVersionSelectors", []) for key in each}
        there = {(put["name"], put["number"]) for put in self.deployed + self.released}
        there = there if "deployedOrReleased" in keys else set()
        named = set(MAIN_BRANCHES if "mainBranch" in keys else ())
        named |= {branch} if "matchingBranch" in keys else set()
        found = {}
        for (consumer, number, known), sha in self.pacts.items():
            wanted = named & {*self.versions[consumer, number]} or (consumer, number) in there
            if known == provider and wanted:
                place = f"/pacts/provider/{provider}/consumer/{consumer}/pact-version/{sha}"
                was_good = any(s == sha and good for s, _, good, _ in self.verified)
                properties = {"pending": not was_good, "notices": []}
                links = {"self": {"href": f"{self.url}{place}", "name": "Pact"}}
                found[sha] = {"verificationProperties": properties, "_links": links}
        return {"_embedded": {"pacts": list(found.values())}}

    def _make_environment(self, body):
        if not body.get("name") or not isinstance(body.get("production"), bool):
            raise invalid(production="is missing")
        if body["name"] in self.environments:
            raise invalid(name=f"name '{body['name']}' is already used")
        uuid = f"e{len(self.environments)}-{body['name']}"
        self.environments[body["name"]] = uuid
        return {"uuid": uuid, "name": body["name"], "production": body["production"]}

    def _named(self, uuid):
        return uuid if uuid in self.environments.values() else gone()

    def _put(self, name, number, environment, *, released):
        puts = self.released if released else self.deployed
        key = (name, number, environment)
        for put in puts:
            if (put["name"], put["number"], put["environment"]) == key:
                return put
        if not released:
            puts[:] = [p for p in puts if (p["name"], p["environment"]) != (name, environment)]
        made = {"uuid": f"u{self._ticks}", "createdAt": self.now(), "environment": environment}
        puts.append(made | {"name": name, "number": number})
        return puts[-1]


def gone():
    raise Answer(404)


def wants(kind, wanted):
    if kind != wanted:
        raise Answer(415)


def shown_of(puts, uuid):
    """The newest first, as the broker lists them."""
    return [
        {
            "uuid": put["uuid"],
            "createdAt": put["createdAt"],
            "_embedded": {
                "pacticipant": {"name": put["name"]},
                "version": {"number": put["number"]},
            },
        }
        for put in reversed(puts)
        if put["environment"] == uuid
    ]
