"""Holds openapi.json against a record of answers, both ways.

    openapi_check.py OPENAPI RECORD

RECORD is what openapi_test.cc writes: the routes that the server has, and requests with their
answers. Every answer must be as described, and everything described must have been answered: each
path, parameter, status and property, and each property that may be null both null and not. The last
tests change the description and expect to be told, so that the check itself is known to work.
"""

import copy
import datetime
import json
import re
import sys
import unittest
import urllib.parse

import jsonschema

FORMATS = jsonschema.FormatChecker()
OURS = {"date-time", "ipv4", "ipv6", "uuid"}
TEXT_FIELDS = {"ETag"}
# Statuses of requests that are refused before their path matters.
BY_DEFAULT = {400, 405, 413, 421, 431, 503}


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(value) -> bool:
    if not isinstance(value, str):
        return True
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value):
        raise ValueError("not RFC 3339 in UTC")
    datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    return True


def closed(node):
    """The same schemas, where an object has no property but those described."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: closed(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict):
        node.setdefault("additionalProperties", False)
    return node


def schemas(node, where=""):
    """Yields (place, schema) for every object schema with properties."""
    if isinstance(node, dict):
        if isinstance(node.get("properties"), dict) and "additionalProperties" not in node:
            yield where, node
        for key, value in node.items():
            yield from schemas(value, f"{where}/{key}")


class Check:
    def __init__(self, document, record):
        self.document = document
        self.record = record
        self.strict = closed(document)
        self.seen = set()  # what of the description was met
        self.wrong = []

    def resolve(self, node):
        while isinstance(node, dict) and "$ref" in node:
            target = self.document
            for key in node["$ref"].removeprefix("#/").split("/"):
                target = target[key]
            node = target
        return node

    def run(self):
        for exchange in self.record["exchanges"]:
            for complaint in self.exchange(exchange):
                self.wrong.append(f"{exchange['method']} {exchange['target']} -> "
                                  f"{exchange['status']}: {complaint}")
        self.wrong += [f"described, but never met: {' '.join(map(str, thing))}"
                       for thing in sorted(self.described() - self.seen, key=str)]
        self.wrong += self.routes()
        return self.wrong

    def operations(self):
        for path, item in self.document["paths"].items():
            yield path, item["get"], [self.resolve(p) for p in item["get"]["parameters"]]

    def described(self):
        """Everything that the record has to have an example of."""
        things = set()
        for path, operation, parameters in self.operations():
            things |= {("status", path, status) for status in operation["responses"]
                       if status != "default"}
            things |= {("parameter", path, p["name"]) for p in parameters}
            things |= {("event", path, kind) for kind in operation.get("x-events", {})}
        things |= {("default", status) for status in BY_DEFAULT}
        for name, schema in self.document["components"]["schemas"].items():
            for key, value in schema.get("properties", {}).items():
                kinds = self.kinds(self.resolve(value))
                things |= {("property", name, key, kind) for kind in kinds}
        return things

    @staticmethod
    def kinds(schema):
        """What there has to be an example of: null and not, some items and not none only."""
        if schema.get("type") == "null":
            return {"null"}
        nullable = "null" in schema.get("type", []) or {"type": "null"} in schema.get("anyOf", [])
        return {"null", "value"} if nullable else {"value"}

    def meet(self, schema, value):
        """Notes which properties `value` is an example of, all the way down."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            schema = self.resolve(schema)
            if isinstance(value, dict):
                for key, part in value.items():
                    if key not in schema.get("properties", {}):
                        continue
                    if part != []:
                        self.seen.add(("property", name, key, "null" if part is None else "value"))
                    self.meet(schema["properties"][key], part)
        elif "anyOf" in schema and value is not None:
            for choice in schema["anyOf"]:
                if "$ref" in choice:
                    self.meet(choice, value)
        elif isinstance(value, list):
            for item in value:
                self.meet(schema.get("items", {}), item)

    def validate(self, schema, value):
        root = {"components": self.strict["components"], **closed(schema)}
        validator = jsonschema.Draft202012Validator(root, format_checker=FORMATS)
        for error in validator.iter_errors(value):
            yield f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
        self.meet(schema, value)

    def find(self, path):
        for template in self.document["paths"]:
            pattern = re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, path):
                return template
        return None

    def exchange(self, exchange):
        url = urllib.parse.urlsplit(exchange["target"])
        status, path = exchange["status"], self.find(url.path)
        if path is None:
            if status != 404:
                yield "a path that is not described"
                return
            yield from self.body({"schema": {"$ref": "#/components/schemas/Problem"}}, exchange)
            return
        operation = self.document["paths"][path]["get"]
        parameters = [self.resolve(p) for p in operation["parameters"]]
        if status in (200, 304):
            yield from self.parameters(path, parameters, url.query, exchange["fields"])
        responses = operation["responses"]
        if exchange["method"] not in ("GET", "HEAD") or str(status) not in responses:
            if status not in BY_DEFAULT:
                yield "a status that is not described"
            self.seen.add(("default", status))
            yield from self.answer(responses["default"], exchange)
            if status == 405 and exchange["headers"].get("Allow") != "GET, HEAD":
                yield "does not say which methods are allowed"
            return
        self.seen |= {("status", path, str(status)), ("default", status)}
        yield from self.answer(responses[str(status)], exchange)
        if "x-events" in operation and status == 200:
            yield from self.events(path, operation["x-events"], exchange["body"])

    def parameters(self, path, parameters, query, fields):
        known = {p["name"]: p for p in parameters if p["in"] == "query"}
        for name, value in urllib.parse.parse_qsl(query, keep_blank_values=True):
            if name not in known:
                yield f"the parameter {name} is not described"
                continue
            schema = self.resolve(known[name]["schema"])
            typed = int(value) if schema["type"] == "integer" else value
            yield from self.validate(schema, typed)
            self.seen.add(("parameter", path, name))
        for name in fields:
            if name not in {p["name"] for p in parameters if p["in"] == "header"}:
                yield f"the field {name} is not described"
            self.seen.add(("parameter", path, name))
        self.seen |= {("parameter", path, p["name"]) for p in parameters if p["in"] == "path"}

    def answer(self, response, exchange):
        response = self.resolve(response)
        described = response.get("headers", {})
        for name in (TEXT_FIELDS | set(described)):
            value = exchange["headers"].get(name)
            if name not in described and value is not None:
                yield f"the field {name} of the answer is not described"
            elif name in described and value is None:
                yield f"has no {name}"
            elif name in described:
                yield from self.validate(self.resolve(described[name])["schema"], value)
        content = response.get("content")
        if exchange["method"] == "HEAD" or not content:
            if exchange["body"]:
                yield "has a body"
            return
        kind = exchange["headers"].get("Content-Type", "").partition(";")[0]
        if kind not in content:
            yield f"the type {kind} is not described"
            return
        yield from self.body(content[kind], exchange)

    def body(self, media, exchange):
        kind = exchange["headers"]["Content-Type"].partition(";")[0]
        value = json.loads(exchange["body"]) if kind.endswith("json") else exchange["body"]
        yield from self.validate(media["schema"], value)
        if kind == "application/problem+json" and value["status"] != exchange["status"]:
            yield "the body tells another status"

    def events(self, path, kinds, text):
        for block in filter(None, text.split("\n\n")):
            lines = dict(line.split(": ", 1) for line in block.split("\n"))
            kind = lines.get("event")
            if kind not in kinds:
                yield f"an event {kind} is not described"
                continue
            if (kind == "reset") == ("id" in lines):
                yield f"an event {kind} with the id {lines.get('id')}"
            self.seen.add(("event", path, kind))
            yield from self.validate(kinds[kind]["schema"], json.loads(lines["data"]))

    def routes(self):
        """The server's own table, for what the record may have left out."""
        served = {route["path"]: route["parameters"] for route in self.record["routes"]}
        described = {}
        for path, _, parameters in self.operations():
            described[path] = {p["name"]: p["schema"].get("enum", []) for p in parameters
                               if p["in"] == "query"}
        if served != described:
            yield f"the server has {served}, described are {described}"


class Description(unittest.TestCase):
    document: dict
    record: dict

    def complaints(self, change=lambda document: None):
        document = copy.deepcopy(self.document)
        change(document)
        return "\n".join(Check(document, self.record).run())

    def test_holds_for_every_answer(self):
        self.assertEqual(self.complaints(), "")

    def test_is_made_of_schemas_that_are_checked(self):
        self.assertEqual(self.document["openapi"], "3.1.0")
        for name, schema in self.document["components"]["schemas"].items():
            jsonschema.Draft202012Validator.check_schema(schema)
            self.assertTrue(schema.get("description"), name)
            for key, value in schema.get("properties", {}).items():
                self.assertTrue({"description", "$ref", "const"} & set(value), f"{name} {key}")
        for place, schema in schemas(self.document["components"]):
            self.assertEqual(set(schema["required"]), set(schema["properties"]), place)
        used = set(re.findall(r'"format": "([^"]*)"', json.dumps(self.document)))
        self.assertLessEqual(used, OURS)
        self.assertLessEqual(OURS, set(FORMATS.checkers))

    def test_names_nothing_that_is_not_there_and_nothing_unused(self):
        text = json.dumps(self.document)
        names = {f"#/components/{kind}/{name}" for kind, things in self.document["components"].items()
                 for name in things}
        self.assertEqual(set(re.findall(r'"\$ref": "([^"]*)"', text)), names)


def change(path, value=None):
    """A change of the description: sets the thing at `path`, or removes it."""
    def apply(document):
        node = document
        for key in path[:-1]:
            node = node[key]
        if value is None:
            del node[path[-1]]
        else:
            node[path[-1]] = value
    return apply


TASK = ("components", "schemas", "Task")
CHANGES = {
    "a_property_less": (change((*TASK, "properties", "downtime_ms")), "'downtime_ms' was unexpected"),
    "a_property_more": (change((*TASK, "properties", "colour"), {"type": "string"}),
                        "never met: property Task colour value"),
    "a_property_needed": (change((*TASK, "required"), ["id", "colour"]), "'colour' is a required"),
    "a_state_less": (change((*TASK, "properties", "state", "enum"), ["running"]),
                     "'in-doubt' is not one of"),
    "not_null": (change((*TASK, "properties", "eta_ms", "type"), "integer"), "None is not of type"),
    "no_time": (change((*TASK, "properties", "phase", "format"), "date-time"), "is not a 'date-time'"),
    "a_path_less": (change(("paths", "/healthz")), "a path that is not described"),
    "a_path_more": (change(("paths", "/v2"), {"get": {"parameters": [], "responses": {
        "200": {"description": "none"}}}}), "never met: status /v2 200"),
    "a_parameter_less": (change(("paths", "/v1/tasks", "get", "parameters", 2)),
                         "the parameter state is not described"),
    "a_parameter_more": (change(("paths", "/healthz", "get", "parameters", 0), {
        "name": "colour", "in": "query", "schema": {"type": "string"}}),
                         "never met: parameter /healthz colour"),
    "a_value_less": (change(("paths", "/v1/tasks", "get", "parameters", 2, "schema", "enum"),
                            ["running"]), "'failed' is not one of"),
    "a_status_less": (change(("paths", "/v1/tasks/{id}", "get", "responses", "404")),
                      "a status that is not described"),
    "a_status_more": (change(("paths", "/metrics", "get", "responses", "503"), {
        "$ref": "#/components/responses/Problem"}), "never met: status /metrics 503"),
    "a_header_less": (change(("paths", "/healthz", "get", "responses", "200", "headers")),
                      "the field ETag of the answer is not described"),
    "an_event_less": (change(("paths", "/v1/events", "get", "x-events", "removed")),
                      "an event removed is not described"),
    "another_type": (change(("paths", "/metrics", "get", "responses", "200", "content"), {
        "text/html": {"schema": {"type": "string"}}}), "the type text/plain is not described"),
}
for name, (apply, expected) in CHANGES.items():
    setattr(Description, f"test_tells_of_{name}",
            lambda self, apply=apply, expected=expected:
            self.assertIn(expected, self.complaints(apply)))


if __name__ == "__main__":
    with open(sys.argv[1]) as openapi, open(sys.argv[2]) as recorded:
        Description.document, Description.record = json.load(openapi), json.load(recorded)
    unittest.main(argv=sys.argv[:1])
