"""The OpenAPI document of the service; a test compares it with the routes."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from lucency.serve.api.extras import MAX_NEIGHBOURS
from lucency.serve.inference.errors import CODES

_JSON = "application/json"
_FILE = {"type": "string", "format": "binary"}
_NUMBER, _STRING, _BOOLEAN = {"type": "number"}, {"type": "string"}, {"type": "boolean"}


def openapi() -> dict[str, Any]:
    """Return the document: every route, its parameters, request body and responses."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lucency",
            "version": importlib.metadata.version("lucency"),
            "description": "An image classifier that abstains rather than guesses.",
        },
        "components": {"schemas": _schemas(), "securitySchemes": _security()},
        "security": [{"bearer": []}, {"basic": []}, {}],
        "paths": _rest() | _monitoring() | _open_inference() | _web(),
    }


def _rest() -> dict[str, Any]:
    flags = [
        _query("map", "1 to add the activation map", {"enum": ["0", "1"]}),
        _query("image", "1 to add the decoded image", {"enum": ["0", "1"]}),
        _query(
            "neighbours",
            "how many of the nearest training images to add",
            {"type": "integer", "minimum": 0, "maximum": MAX_NEIGHBOURS},
        ),
        {
            "name": "Lucency-Deadline",
            "in": "header",
            "required": False,
            "description": "seconds within which the response is needed",
            "schema": _NUMBER,
        },
    ]
    form = {
        "type": "object",
        "properties": {"file": {"type": "array", "items": _FILE}},
    }
    body = {"application/octet-stream": {"schema": _FILE}, "multipart/form-data": {"schema": form}}
    return {
        "/v1/predict": {"post": _json("Classify images", "Predictions", body, flags)},
        "/v1/classifier": {"get": _json("Describe the classifier", "Classifier")},
        "/v1/reload": {"post": _json("Load the run folder again", "Reloaded")},
    }


def _monitoring() -> dict[str, Any]:
    return {
        "/health/live": {"get": _json("Report that the process runs", "Live")},
        "/health/ready": {"get": _json("Report whether requests are welcome", "Ready")},
        "/metrics": {"get": _route("Metrics for Prometheus", "text/plain")},
        "/openapi.json": {"get": _json("This document", "Any")},
    }


def _open_inference() -> dict[str, Any]:
    name = {"name": "name", "in": "path", "required": True, "schema": _STRING}
    version = name | {"name": "version"}
    found: dict[str, Any] = {
        "/v2": {"get": _json("Describe the server", "Any")},
        "/v2/health/live": {"get": _json("Report that the process runs", "Live")},
        "/v2/health/ready": {"get": _json("Report whether requests are welcome", "Ready")},
    }
    for base, path in (
        ("/v2/models/{name}", [name]),
        ("/v2/models/{name}/versions/{version}", [name, version]),
    ):
        body = {_JSON: {"schema": _ref("Any")}, "application/octet-stream": {"schema": _FILE}}
        found[base] = {"get": _json("Describe the inputs and outputs", "Any", None, path)}
        found[f"{base}/ready"] = {
            "get": _json("Report whether the model is ready", "Ready", None, path)
        }
        found[f"{base}/infer"] = {"post": _json("Classify tensors", "Any", body, path)}
    return found


def _web() -> dict[str, Any]:
    file = {"name": "file", "in": "path", "required": True, "schema": _STRING}
    return {
        "/": {"get": _route("The page", "text/html")},
        "/page/{file}": {"get": _route("A file of the page", "*/*", [file])},
        "/report": {"get": _route("The run's report", "text/html")},
    }


def _schemas() -> dict[str, Any]:
    about = _object({"name": _STRING, "sha256": _STRING, "calibration": _STRING})
    maybe = ["string", "null"]
    basis = {
        "image": {"type": "integer"},
        "change": {"type": ["number", "null"]},
        "images": {"type": "integer"},
        "agree": {"type": ["integer", "null"]},
        "lowest": _NUMBER,
        "highest": _NUMBER,
    }
    prediction = {
        "type": "object",
        "properties": {
            "decision": {"type": maybe},
            "probabilities": {"type": ["object", "null"], "additionalProperties": _NUMBER},
            "reason": {"type": maybe},
            "prediction_set": {"type": "array", "items": _STRING},
            "ood_score": {"type": ["number", "null"]},
            "notes": {"type": "array", "items": _STRING},
            "cut": _object(
                {"from": _STRING, "probability": _NUMBER, "positive": {"type": ["boolean", "null"]}}
            ),
            "labels": {
                "type": "object",
                "additionalProperties": _object(
                    {
                        "probability": _NUMBER,
                        "present": {"type": ["boolean", "null"]},
                        "prediction_set": {"type": "array", "items": _STRING},
                    }
                ),
            },
            "value": _object(
                {
                    "name": _STRING,
                    "predicted": _NUMBER,
                    "interval": {"type": ["array", "null"], "items": _NUMBER},
                    "coverage": _NUMBER,
                }
            ),
            "evidence": {
                "type": "object",
                "required": ["images"],
                "properties": {
                    "class": _STRING,
                    **basis,
                    "labels": {"type": "object", "additionalProperties": _object(basis)},
                },
            },
            "activation_map": {"type": ["object", "null"]},
            "image": _STRING,
            "size": {"type": "array", "items": {"type": "integer"}},
            "neighbours": {"type": ["array", "null"], "items": {"type": "object"}},
        },
    }
    either = {"oneOf": [prediction, _ref("Error")]}
    return {
        "Any": {"type": "object"},
        "Live": _object({"live": _BOOLEAN}),
        "Ready": _object({"ready": _BOOLEAN}),
        "Error": _object({"error": _STRING, "code": {"enum": [*CODES]}}),
        "Classifier": about,
        "Reloaded": _object({"classifier": about}),
        "Predictions": {
            "type": "object",
            "required": ["classifier", "predictions"],
            "properties": {
                "classifier": about,
                "predictions": {"type": "array", "items": either},
                **dict.fromkeys(("patient", "study", "series", "unit"), prediction),
            },
        },
    }


def _security() -> dict[str, Any]:
    return {name: {"type": "http", "scheme": name} for name in ("bearer", "basic")}


def _json(
    summary: str, schema: str, body: Any = None, parameters: list[Any] | None = None
) -> dict[str, Any]:
    """Describe a route whose response is JSON."""
    found = _route(summary, _JSON, parameters)
    found["responses"]["200"]["content"][_JSON]["schema"] = _ref(schema)
    if body:
        found["requestBody"] = {"required": True, "content": body}
    return found


def _route(summary: str, kind: str, parameters: list[Any] | None = None) -> dict[str, Any]:
    error = {"description": "error", "content": {_JSON: {"schema": _ref("Error")}}}
    return {
        "summary": summary,
        "parameters": parameters or [],
        "responses": {"200": {"description": "success", "content": {kind: {}}}, "default": error},
    }


def _query(name: str, description: str, schema: Any) -> dict[str, Any]:
    found = {"name": name, "in": "query", "required": False}
    return found | {"description": description, "schema": schema}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [*properties], "properties": properties}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
