"""What diagnostic records look like: accounts, requests, key readings, other services, and broken messages.

The fields and their quirks (masked addresses, properties as text, upper-case ids, ShoeboxCallResult) are those
of public samples of the Audit and RequestResponse categories; every value is made up. Records are templates for
the `%` operator with a mapping, since a day has hundreds of thousands of them and few of their fields change.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from random import Random


class Kind(StrEnum):
    """What is wrong with a malformed message."""

    RAW_NEWLINE = "raw newline in a string"
    SINGLE_QUOTES = "single-quoted keys"
    BYTE_ORDER_MARK = "byte order mark"
    TRAILING_NUL = "trailing NUL"
    BLOB_DATA = "unquoted blob data"
    TRUNCATED = "truncated"
    NOT_JSON = "not JSON"
    NUMBER_RECORD = "a number among the records"
    NULL_RESOURCE = "a key reading without resource"
    TEXT_LENGTH = "responseLength as text"
    FLOAT_LENGTH = "responseLength as float"


@dataclass(frozen=True, slots=True)
class Account:
    """An Azure OpenAI account: its id as the portal spells it, its share of the load, its logs of key listings."""

    resource_id: str
    region: str
    asset: str
    weight: int
    tells_lengths: bool = False

    @property
    def canonical_id(self) -> str:
        """The lower-case resource id, under which every spelling is counted."""
        return self.resource_id.lower()

    def spelling(self, rng: Random) -> str:
        """Return the resource id as one record has it: mostly upper-case, sometimes mixed or lower."""
        spellings = (self.resource_id.upper(), self.resource_id, self.canonical_id)
        return rng.choices(spellings, (80, 12, 8))[0]


@dataclass(frozen=True, slots=True)
class Call:
    """A request to an account, as its log tells it, without lengths and times.

    `caller` is an object id, empty for whoever came with a key; the log then has the masked `address`, or nothing.
    """

    account: Account
    operation: str
    status: str
    caller: str
    address: str


@dataclass(frozen=True, slots=True)
class Shape:
    """A record template with the means of its exponentially distributed lengths (bytes) and duration (ms).

    `call` is None for other services' logs; `has_lengths` tells whether the record carries its properties.
    """

    text: str
    request: float = 1.0
    response: float = 1.0
    duration: float = 1.0
    call: Call | None = None
    has_lengths: bool = False


# Subscription, group, name, region, weight. Two accounts share group AND name in different subscriptions: whoever
# groups without the subscription mixes them up.
_FLEET = (
    (0, "rg-genai-prod", "aoai-Shared", "eastus", 18),
    (1, "rg-genai-prod", "aoai-Shared", "swedencentral", 9),
    (0, "rg-genai-prod", "aoai-Assistant", "eastus", 22),
    (0, "rg-search", "aoai-Embeddings", "eastus2", 14),
    (0, "rg-search", "aoai-Rerank", "eastus2", 4),
    (1, "rg-contact-center", "aoai-Transcripts", "westeurope", 10),
    (1, "rg-contact-center", "aoai-Agents", "westeurope", 7),
    (1, "rg-legal", "aoai-Contracts", "francecentral", 2),
    (2, "rg-sandbox", "aoai-Playground", "northcentralus", 3),
    (2, "rg-sandbox", "aoai-Hackathon", "northcentralus", 1),
    (2, "rg-data-science", "aoai-Evaluation", "uksouth", 6),
    (2, "rg-data-science", "aoai-Labelling", "uksouth", 4),
)
_WITH_LENGTHS = "aoai-Contracts"
"""The account whose key listings are logged with the length of the answer."""

SOURCE = "azure_openai"
"""The log source of ordinary load."""

# Operation, weight, request and response bytes, ms, models. The means are far below what a rule calls abuse.
_OPERATIONS: tuple[tuple[str, int, float, float, float, tuple[tuple[str, str], ...]], ...] = (
    ("ChatCompletions_Create", 62, 1200, 1500, 1800, (("gpt-4o", "2024-08-06"), ("gpt-35-turbo", "0125"))),
    ("Embeddings_Create", 25, 700, 9000, 60, (("text-embedding-3-large", "1"),)),
    ("Completions_Create", 6, 500, 700, 900, (("gpt-35-turbo-instruct", "0914"),)),
    ("Models_List", 4, 1, 2600, 40, ()),
    ("Create_Thread", 3, 4, 110, 90, ()),
)
GENERATING = ("ChatCompletions_Create", "Completions_Create")
"""Those in which a model writes an answer."""

_ERROR_BYTES = 200.0
_AS_OBJECT, _AS_TEXT, _LEFT_OUT = "object", "text", "null"
"""How a record carries its properties."""

_REQUEST_PROPERTIES = (
    '{"apiName":"Azure OpenAI API version %s","requestTime":%%(request_ticks)d,"requestLength":%%(request)d,'
    '"responseTime":%%(response_ticks)d,"responseLength":%%(response)d,"objectId":"%s"%s}'
)
_MODEL = ',"streamType":"%s","modelDeploymentName":"%s","modelName":"%s","modelVersion":"%s"'
_REQUEST = (
    '{"Tenant":"%s","callerIpAddress":%s,"category":"RequestResponse","correlationId":"%%(guid)s",'
    '"durationMs":%s,"event":"ShoeboxCallResult","location":"%s","operationName":"%s","properties":%s,'
    '"resourceId":"%s","resultSignature":"%s","time":"%s"}'
)
_TIMES = ("%(second)s.%(tick)07dZ", "%(second)s.%(milli)03d0000Z", "%(second)s.%(milli)03dZ", "%(second)sZ")

_FUNCTION_LOG = (
    '{"category":"FunctionAppLogs","operationName":"Microsoft.Web/sites/functions/log","properties":%s,'
    '"resourceId":"/SUBSCRIPTIONS/%%s/RESOURCEGROUPS/RG-WEB/PROVIDERS/MICROSOFT.WEB/SITES/FN","time":"%%%%(second)sZ"}'
)
_FIREWALL = (
    '{"category":"AzureFirewallNetworkRule","operationName":"AzureFirewallNetworkRuleLog","properties":{"msg":'
    '"TCP request from 10.4.0.7:50332 to 20.42.0.9:443. Action: Allow"},"resourceId":"/SUBSCRIPTIONS/%s'
    '/RESOURCEGROUPS/RG-HUB/PROVIDERS/MICROSOFT.NETWORK/AZUREFIREWALLS/FW","time":"%%(second)s.%%(tick)07dZ"}'
)
_ACTIVITY = (
    '{"category":"Administrative","operationName":"MICROSOFT.COGNITIVESERVICES/ACCOUNTS/DEPLOYMENTS/WRITE",'
    '"level":4,"properties":{"responseLength":null},"resourceId":"/SUBSCRIPTIONS/%s/RESOURCEGROUPS/RG-GENAI-PROD/PROVIDERS'
    '/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/AOAI-SHARED","resultSignature":"Success.","time":"%%(second)sZ"}'
)
# Other services on the same hub, and how many of 2,000 shapes are theirs. One only seems to be a key reading: it
# quotes such a record in its message. Surprises by type are rare, as they are in reality: each may cost its whole
# message a detector's fast path.
_NEIGHBOURS = (
    (_FIREWALL, 11),
    (_ACTIVITY, 4),
    (_FUNCTION_LOG % "\"{'appName':'fn-orders','message':'Retry 2 of 5','levelId':3}\"", 8),
    (_FUNCTION_LOG % r'{"message":"didn\u0027t send {\"category\":\"Audit\",\"operationName\":\"ListKey\"}"}', 5),
    (_FUNCTION_LOG % "[]", 1),
    ('{"category":null,"operationName":5,"properties":null,"resourceId":null,"tenantId":"%s","time":null}', 1),
)

# What stands among good records and spoils their message. Other kinds have an odd key reading there, or nothing.
_INTRUDERS = {
    Kind.RAW_NEWLINE: '{"category":"FunctionAppLogs","properties":{"message":"Timeout\n   at Orders.Submit()"}}',
    Kind.SINGLE_QUOTES: """{'category':"FunctionAppLogs",'properties':{'message':"Timeout"},'level':"Error"}""",
    Kind.BLOB_DATA: '{"category":"Syslog","operationName":"log","properties":{"message":[ 218 B blob data ]}}',
    Kind.NUMBER_RECORD: "42",
}
ODD_LENGTHS = {Kind.TEXT_LENGTH: '"3"', Kind.FLOAT_LENGTH: "3.0"}


def guid(rng: Random) -> str:
    """Return a version 4 GUID from the seeded generator."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def fleet(rng: Random) -> tuple[Account, ...]:
    """Return the accounts of three subscriptions, whose ids come from `rng`."""
    subscriptions = [guid(rng) for _ in range(3)]
    provider = "providers/Microsoft.CognitiveServices/accounts"
    return tuple(
        Account(
            f"/subscriptions/{subscriptions[owner]}/resourceGroups/{group}/{provider}/{name}",
            region=region,
            asset=guid(rng),
            weight=weight,
            tells_lengths=name == _WITH_LENGTHS,
        )
        for owner, group, name, region, weight in _FLEET
    )


def shapes(rng: Random, accounts: tuple[Account, ...]) -> list[Shape]:
    """Draw 2,000 templates, so that an even choice among them has the mix of a real hub."""
    neighbours = [
        Shape(template % rng.choice(accounts).resource_id.split("/")[2])
        for template, copies in _NEIGHBOURS
        for _ in range(copies)
    ]
    weights = [account.weight for account in accounts]
    busy = rng.choices(accounts, weights, k=2_000 - len(neighbours))
    return neighbours + [_request(rng, account) for account in busy]


def list_key(
    rng: Random, account: Account, *, caller: str, time: str, length: str | None, resource: str | None = None
) -> str:
    """Return the Audit record of one key reading.

    `length` and `resource` are JSON as it shall appear, so that a caller can ask for a wrong type. Without a
    length the record has none, as in the public samples; the resource is the account's, in some spelling.
    """
    properties = f'{{"objectId":"{caller}"' + (f',"responseLength":{length}}}' if length else "}")
    # A few senders write properties as text here too.
    properties = rng.choices((properties, json.dumps(properties)), (95, 5))[0]
    resource = resource or f'"{account.spelling(rng)}"'
    return (
        f'{{"AssetIdentity":"{account.asset}","Tenant":"{account.region}","category":"Audit",'
        f'"operationName":"ListKey","properties":{properties},"resourceId":{resource},"time":"{time}"}}'
    )


def malformed(kind: Kind, good: list[str], odd: str) -> bytes:
    """Return a message of this kind from good records and, where the kind is about one, an odd key reading."""
    if kind is Kind.NOT_JSON:
        return b"\x00\x01\x02 keep-alive \xff\xfe"
    middle = len(good) // 2
    if kind in _INTRUDERS:
        good = [*good[:middle], _INTRUDERS[kind], *good[middle:]]
    elif kind in ODD_LENGTHS or kind is Kind.NULL_RESOURCE:
        good = [*good[:middle], odd, *good[middle:]]
    elif kind is Kind.TRUNCATED:
        return ('{"records":[' + ",".join([*good, odd[: len(odd) // 2]])).encode()
    body = ('{"records":[' + ",".join(good) + "]}").encode()
    if kind is Kind.BYTE_ORDER_MARK:
        return b"\xef\xbb\xbf" + body
    return body + b"\x00" if kind is Kind.TRAILING_NUL else body


def _request(rng: Random, account: Account) -> Shape:
    name, _, request, response, duration, models = rng.choices(_OPERATIONS, [entry[1] for entry in _OPERATIONS])[0]
    status = rng.choices(("200", "429", "400"), (94, 4, 2))[0]
    caller = rng.choice(("", "", guid(rng)))
    address = rng.choices((_address(rng), ""), (98, 2))[0]
    call = Call(account, name, status, caller, address)
    form = rng.choices((_AS_OBJECT, _AS_TEXT, _LEFT_OUT), (69, 30, 1))[0]
    text = _template(rng, call, models, form)
    return Shape(text, request, response if status == "200" else _ERROR_BYTES, duration, call, form != _LEFT_OUT)


def _template(rng: Random, call: Call, models: tuple[tuple[str, str], ...], form: str) -> str:
    model = ""
    if models:
        family, version = rng.choice(models)
        stream = rng.choice(("Non-Streaming", "Streaming"))
        model = _MODEL % (stream, f"{family}-{rng.choice(('prod', 'pilot'))}", family, version)
    properties = _REQUEST_PROPERTIES % (rng.choice(("2024-02-15-preview", "2024-10-21")), call.caller, model)
    return _REQUEST % (
        call.account.region,
        f'"{call.address}"' if call.address else "null",
        rng.choices(("%(duration)d", "-%(duration)d"), (98, 2))[0],
        call.account.region,
        call.operation,
        {_AS_OBJECT: properties, _AS_TEXT: json.dumps(properties), _LEFT_OUT: "null"}[form],
        call.account.spelling(rng),
        call.status,
        rng.choices(_TIMES, (60, 30, 8, 2))[0],
    )


def _address(rng: Random) -> str:
    """Return an address as Azure masks it."""
    return f"{rng.randint(20, 199)}.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.choice(('***', '**'))}"
