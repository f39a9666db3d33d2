"""The interface described in OpenAPI; a test compares it with the routes."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from lucency.serve.api.extras import MOST_NEIGHBOURS
from lucency.serve.inference.errors import CODES

_JSON = "application/json"
_FILE = {"type": "string", "format": "binary"}
_NUMBER, _TEXT, _TRUTH = {"type": "number"}, {"type": "string"}, {"type": "boolean"}


def openapi() -> dict[str, Any]:
    """Return the document: every route, and what goes in and out."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lucency",
            "version": importlib.metadata.version("lucency"),
            "description": "An image classifier that abstains rather than guesses.",
        },
        "components": {"schemas": _schemas(), "securitySchemes": _security()},
        "security": [{"bearer": []}, {"basic": []}, {}],
        "paths": _ours() | _watching() | _protocol() | _pages(),
    }


def _ours() -> dict[str, Any]:
    flags = [
        _query("map", "1 for the activation map", {"enum": ["0", "1"]}),
        _query("image", "1 for the image as it was decoded", {"enum": ["0", "1"]}),
        _query(
            "neighbours",
            "how many of the most similar training images",
            {"type": "integer", "minimum": 0, "maximum": MOST_NEIGHBOURS},
        ),
        {
            "name": "Lucency-Deadline",
            "in": "header",
            "required": False,
            "description": "seconds within which the answer is wanted",
            "schema": _NUMBER,
        },
    ]
    form = {
        "type": "object",
        "properties": {"file": {"type": "array", "items": _FILE}},
    }
    body = {"application/octet-stream": {"schema": _FILE}, "multipart/form-data": {"schema": form}}
    return {
        "/v1/predict": {"post": _does("Classify images", "Predictions", body, flags)},
        "/v1/classifier": {"get": _does("What the classifier is", "Classifier")},
        "/v1/reload": {"post": _does("Load the run folder again", "Reloaded")},
    }


def _watching() -> dict[str, Any]:
    return {
        "/health/live": {"get": _does("Whether the process runs", "Live")},
        "/health/ready": {"get": _does("Whether requests are welcome", "Ready")},
        "/metrics": {"get": _gives("Measurements for Prometheus", "text/plain")},
        "/openapi.json": {"get": _does("This document", "Any")},
    }


def _protocol() -> dict[str, Any]:
    name = {"name": "name", "in": "path", "required": True, "schema": _TEXT}
    version = name | {"name": "version"}
    found: dict[str, Any] = {
        "/v2": {"get": _does("What the server is", "Any")},
        "/v2/health/live": {"get": _does("Whether the process runs", "Live")},
        "/v2/health/ready": {"get": _does("Whether requests are welcome", "Ready")},
    }
    for base, path in (
        ("/v2/models/{name}", [name]),
        ("/v2/models/{name}/versions/{version}", [name, version]),
    ):
        body = {_JSON: {"schema": _ref("Any")}, "application/octet-stream": {"schema": _FILE}}
        found[base] = {"get": _does("Inputs and outputs", "Any", None, path)}
        found[f"{base}/ready"] = {"get": _does("Whether it answers", "Ready", None, path)}
        found[f"{base}/infer"] = {"post": _does("Classify tensors", "Any", body, path)}
    return found


def _pages() -> dict[str, Any]:
    file = {"name": "file", "in": "path", "required": True, "schema": _TEXT}
    return {
        "/": {"get": _gives("The page", "text/html")},
        "/page/{file}": {"get": _gives("A file of the page", "*/*", [file])},
        "/report": {"get": _gives("The report of the run", "text/html")},
    }


def _schemas() -> dict[str, Any]:
    about = _object({"name": _TEXT, "sha256": _TEXT, "calibration": _TEXT})
    maybe = ["string", "null"]
    prediction = {
        "type": "object",
        "properties": {
            "decision": {"type": maybe},
            "probabilities": {"type": ["object", "null"], "additionalProperties": _NUMBER},
            "reason": {"type": maybe},
            "prediction_set": {"type": "array", "items": _TEXT},
            "ood_score": {"type": ["number", "null"]},
            "notes": {"type": "array", "items": _TEXT},
            "activation_map": {"type": ["object", "null"]},
            "image": _TEXT,
            "size": {"type": "array", "items": {"type": "integer"}},
            "neighbours": {"type": ["array", "null"], "items": {"type": "object"}},
        },
    }
    either = {"oneOf": [prediction, _ref("Error")]}
    return {
        "Any": {"type": "object"},
        "Live": _object({"live": _TRUTH}),
        "Ready": _object({"ready": _TRUTH}),
        "Error": _object({"error": _TEXT, "code": {"enum": [*CODES]}}),
        "Classifier": about,
        "Reloaded": _object({"classifier": about}),
        "Predictions": _object(
            {"classifier": about, "predictions": {"type": "array", "items": either}}
        ),
    }


def _security() -> dict[str, Any]:
    return {name: {"type": "http", "scheme": name} for name in ("bearer", "basic")}


def _does(
    summary: str, schema: str, body: Any = None, parameters: list[Any] | None = None
) -> dict[str, Any]:
    """Describe a route that answers in JSON."""
    found = _gives(summary, _JSON, parameters)
    found["responses"]["200"]["content"][_JSON]["schema"] = _ref(schema)
    if body:
        found["requestBody"] = {"required": True, "content": body}
    return found


def _gives(summary: str, kind: str, parameters: list[Any] | None = None) -> dict[str, Any]:
    error = {"description": "refused", "content": {_JSON: {"schema": _ref("Error")}}}
    return {
        "summary": summary,
        "parameters": parameters or [],
        "responses": {"200": {"description": "done", "content": {kind: {}}}, "default": error},
    }


def _query(name: str, description: str, schema: Any) -> dict[str, Any]:
    found = {"name": name, "in": "query", "required": False}
    return found | {"description": description, "schema": schema}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [*properties], "properties": properties}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
