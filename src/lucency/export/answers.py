"""Answers in an ONNX graph: what is made of the probabilities of images, as standard nodes.

For a run with an answer for units, such as patients, ``unit_probabilities`` are those of one unit,
whose images are all images of the call: ``UnitRule.probabilities`` in float32. For a run that
predicts a number, ``value`` and ``interval`` are those of each image, as of ``ValueRule``, and
``unit_value`` and ``unit_interval`` those of the unit.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucency.calibration.units import NEAREST, UnitRule
from lucency.calibration.values import ValueRule, tails
from lucency.classifier import Spec
from lucency.errors import ParityError
from lucency.imaging.decoder.pool import Pixels

UNIT, VALUE, INTERVAL = "unit_probabilities", "value", "interval"
UNIT_VALUE, UNIT_INTERVAL = "unit_value", "unit_interval"
SIZES = (1, 2, 4, 8)  # images of units that are compared, and one of all that are left of a batch
_TINY = 1e-30  # of probabilities that are divided by, or whose logarithm is taken
_FLOAT, _DOUBLE = 1, 11  # types of ONNX
_AXES_ARE_INPUTS = 18  # operator set from which on the axes of ReduceMean are an input


def answers_of(spec: Spec) -> tuple[str, ...]:
    """Return the outputs that an ONNX file of a classifier has beyond those for images."""
    of_unit = spec.per_unit
    found = [UNIT] if of_unit else []
    for rule, names in (
        (spec.value_rule, (VALUE, INTERVAL)),
        (of_unit and of_unit.value_rule, (UNIT_VALUE, UNIT_INTERVAL)),
    ):
        if rule:
            found += names[:1] if rule.offset is None else names
    return tuple(found)


def add_answers(model: Any, spec: Spec) -> None:
    """Add the nodes and the outputs to an ONNX model with the output ``probabilities``.

    Args:
        model: A ``ModelProto``; changed in place.
        spec: Of the classifier.
    """
    graph = _Graph(model)
    if rule := spec.value_rule:
        _add_value(graph, rule, "probabilities", ("n", VALUE, INTERVAL))
    of_unit = spec.per_unit
    if of_unit and (pooling := spec.unit_rule):
        _add_unit(graph, pooling)
        if rule := of_unit.value_rule:
            _add_value(graph, rule, UNIT, (1, UNIT_VALUE, UNIT_INTERVAL))


def _add_unit(graph: _Graph, rule: UnitRule) -> None:
    if rule.labels:
        _add_labels_of_unit(graph, rule)
        return
    two = len(rule.bias) == 1
    classes = 2 if two else len(rule.bias)
    z = graph("Log", graph("Max", "probabilities", graph.constant(_TINY)))
    if two:
        z = graph("MatMul", z, graph.constant([[-1.0], [1.0]]))
    if rule.pooling and not two:
        z = graph("Sub", z, graph.reduced("ReduceMean", z, 1))
    pooled = _pooled(graph, z, rule.pooling)
    biased = graph("Add", pooled, graph.constant([rule.bias]))
    scaled = graph("Div", biased, graph.constant(rule.temperature))
    if two:
        both = graph("MatMul", scaled, graph.constant([[-1.0, 1.0]]))
        graph.output("Sigmoid", UNIT, (1, classes), both)
    else:
        graph.output("Softmax", UNIT, (1, classes), scaled, axis=1)


def _add_labels_of_unit(graph: _Graph, rule: UnitRule) -> None:
    """Add what makes probabilities of a unit for each of several labels by itself."""
    # In 64 bits: of a float32 near 1, the difference from 1 has few digits.
    one, low, high = (graph.constant(x, np.float64) for x in (1.0, NEAREST, 1 - NEAREST))
    p = graph("Clip", graph("Cast", "probabilities", to=_DOUBLE), low, high)
    z = graph("Sub", graph("Log", p), graph("Log", graph("Sub", one, p)))
    columns = []
    for k, of in enumerate(rule.labels):
        own = graph("Gather", z, graph.integers([k]), axis=1)
        pooled = _pooled(graph, own, of.get("pooling", 0.0), np.float64)
        biased = graph("Add", pooled, graph.constant(of["bias"], np.float64))
        columns.append(graph("Div", biased, graph.constant(of["temperature"], np.float64)))
    scaled = graph("Sigmoid", graph("Concat", *columns, axis=1))
    graph.output("Cast", UNIT, (1, len(columns)), scaled, to=_FLOAT)


def _pooled(graph: _Graph, z: str, sharpness: float, dtype: type = np.float32) -> str:
    """Return the pooled rows of logits, as of ``units.pooled_logits``, (1, classes)."""
    if not sharpness:
        return graph.reduced("ReduceMean", z, 0)
    r = graph.constant(sharpness, dtype)
    images = graph("Gather", graph("Shape", z), graph.integers([0]))
    images = graph("Cast", images, to=_DOUBLE if dtype is np.float64 else _FLOAT)
    total = graph.reduced("ReduceLogSumExp", graph("Mul", z, r), 0)
    return graph("Div", graph("Sub", total, graph("Log", images)), r)


def _add_value(graph: _Graph, rule: ValueRule, p: str, outputs: tuple[int | str, str, str]) -> None:
    """Add what makes numbers of probabilities of bins.

    Args:
        graph: To be added to.
        rule: How they become numbers.
        p: The name of the probabilities, (rows, bins).
        outputs: The number of rows, and the names of the numbers and of the intervals.
    """
    n, value, interval = outputs
    mean = graph("MatMul", p, graph.constant(np.transpose([rule.centres])))
    graph.output("Reshape", value, (n,), mean, graph.integers([-1]))
    if rule.offset is None:
        return
    low, high = (_quantile(graph, rule, p, level) for level in tails(rule.coverage))
    offset = graph.constant(rule.offset)
    low, high = graph("Sub", low, offset), graph("Add", high, offset)
    middle = graph("Mul", graph("Add", low, high), graph.constant(0.5))
    ends = graph("Min", low, middle), graph("Max", high, middle)
    graph.output("Concat", interval, (n, 2), *ends, axis=1)


def _quantile(graph: _Graph, rule: ValueRule, p: str, level: float) -> str:
    """Return a quantile of the distribution that is even within each bin, (n, 1).

    Each bin counts with the share of its width that lies below the quantile: 0 or 1, but for one.
    A bin without probability has a share of 0 or 1, too.
    """
    below = graph("CumSum", p, graph.integers(1), exclusive=1)
    wanted = graph("Mul", graph.summed(p), graph.constant(level))
    share = graph("Div", graph("Sub", wanted, below), graph("Max", p, graph.constant(_TINY)))
    share = graph("Clip", share, graph.constant(0.0), graph.constant(1.0))
    widths = graph.constant([np.diff(rule.edges)])
    return graph("Add", graph.summed(graph("Mul", share, widths)), graph.constant(rule.edges[0]))


Run = Callable[[Pixels, Sequence[str]], Sequence[NDArray[Any]]]


class Answers:
    """Compares the answers of an ONNX file with those of the classifier, batch by batch.

    Units are made of successive images.

    Args:
        spec: Of the classifier.
        run: Runs the file: pixels and names of outputs to outputs.
    """

    def __init__(self, spec: Spec, run: Run) -> None:
        self._spec, self._run = spec, run
        self._found = dict.fromkeys(answers_of(spec), (0, 0.0))

    def add(self, pixels: Pixels, probabilities: NDArray[np.float64]) -> None:
        """Compare the answers for a batch, with those from the classifier's probabilities."""
        rule, of_unit = self._spec.unit_rule, self._spec.per_unit
        self._compare(pixels, _numbers(self._spec.value_rule, probabilities, (VALUE, INTERVAL)))
        if of_unit is None or rule is None:
            return
        for own in np.split(np.arange(len(pixels)), np.cumsum(SIZES)):
            if len(own):
                answer = rule.probabilities(probabilities[own], np.zeros(len(own), np.int64))
                numbers = _numbers(of_unit.value_rule, answer, (UNIT_VALUE, UNIT_INTERVAL))
                self._compare(pixels[own], {UNIT: answer, **numbers})

    def _compare(self, pixels: Pixels, expected: Mapping[str, NDArray[np.float64]]) -> None:
        if not expected:
            return
        pairs = zip(expected.items(), self._run(pixels, [*expected]), strict=True)
        for (name, ours), theirs in pairs:
            difference = float(np.nan_to_num(np.abs(ours - theirs), nan=np.inf).max())
            n, largest = self._found[name]
            self._found[name] = n + len(ours), max(largest, difference)

    def figures(self, tolerance: float) -> dict[str, Any]:
        """Return what was found.

        Args:
            tolerance: Largest permitted difference of a probability; of a value, as a share of the
                width of all bins together.

        Returns:
            For each output the number of answers, the largest difference, and the largest
            permitted.

        Raises:
            ParityError: A difference is larger.
        """
        found = {}
        for name, (n, largest) in self._found.items():
            limit = tolerance if name == UNIT else tolerance * _width(self._spec.value_rule)
            if largest > limit:
                raise ParityError(
                    f"The output {name} of the onnx file differs from the classifier's by up to "
                    f"{largest:.2g} (at most {limit:g} allowed) in {n:,} answers. It was not kept."
                )
            found[name] = {"n": n, "max_abs_difference": largest, "tolerance": limit}
        return found


def _numbers(
    rule: ValueRule | None, probabilities: NDArray[np.float64], names: tuple[str, str]
) -> dict[str, NDArray[np.float64]]:
    """Return numbers and, if there are any, intervals, by the names of their outputs."""
    if rule is None:
        return {}
    found, intervals = {names[0]: rule.predicted(probabilities)}, rule.intervals(probabilities)
    return found if intervals is None else {**found, names[1]: intervals}


def _width(rule: ValueRule | None) -> float:
    """Return the width of all bins of a number together."""
    if rule is None:
        raise ValueError("this is a classifier without numbers")
    return rule.edges[-1] - rule.edges[0]


class _Graph:
    """Adds nodes to an ONNX model; a call returns the name of the node's output."""

    def __init__(self, model: Any) -> None:
        self._onnx = importlib.import_module("onnx")
        self._graph = model.graph
        versions = [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")]
        self._axes_are_inputs = max(versions) >= _AXES_ARE_INPUTS

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"answer{len(self._graph.node)}"
        self._node(operator, inputs, name, attributes)
        return name

    def output(
        self, operator: str, name: str, shape: tuple[int | str, ...], *inputs: str, **given: Any
    ) -> None:
        """Add a node that makes a float32 output of the model."""
        self._node(operator, inputs, name, given)
        made = self._onnx.helper.make_tensor_value_info(name, self._onnx.TensorProto.FLOAT, shape)
        self._graph.output.append(made)

    def constant(self, values: ArrayLike, dtype: type = np.float32) -> str:
        """Return the name of numbers, by default float32."""
        return self._held(np.asarray(values, dtype))

    def integers(self, values: ArrayLike) -> str:
        """Return the name of int64 numbers."""
        return self._held(np.asarray(values, np.int64))

    def reduced(self, operator: str, name: str, axis: int) -> str:
        """Return a reduction along an axis, which keeps the axis."""
        if self._axes_are_inputs:
            return self(operator, name, self.integers([axis]), keepdims=1)
        return self(operator, name, axes=[axis], keepdims=1)

    def summed(self, name: str) -> str:
        """Return the sums of rows, (n, 1)."""
        return self("ReduceSum", name, self.integers([1]), keepdims=1)

    def _held(self, values: Any) -> str:
        name = f"answer_constant{len(self._graph.initializer)}"
        self._graph.initializer.append(self._onnx.numpy_helper.from_array(values, name))
        return name

    def _node(
        self, operator: str, inputs: tuple[str, ...], output: str, given: dict[str, Any]
    ) -> None:
        name = f"{operator}_{len(self._graph.node)}"
        node = self._onnx.helper.make_node(operator, list(inputs), [output], name, **given)
        self._graph.node.append(node)
