"""Assemble a LiteRT file from layers and their weights, without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from modeling.backends.batch_norm import Floats

# As in Keras; "linear" is none.
Activation = Literal["linear", "relu", "relu6", "swish", "sigmoid"]
Scales = float | Sequence[float] | NDArray[np.float64]
_VERSION = 3  # of the file format
_IDENTIFIER = b"TFL3"


@dataclass(frozen=True)
class Tensor:
    """Name a value of the graph: its number, and its shape (1, height, width, channels) or (1, channels)."""

    number: int
    shape: tuple[int, ...]


class LiteGraph:
    """Build a graph layer by layer: each method adds a layer and returns its output.

    Weights are those of Keras: kernels (height, width, in, out), or (height, width, channels, 1) for `filter_channels`.
    Convolutions are padded as TensorFlow's "SAME", or not at all. The result is float32, from an image (1, side, side,
    3).
    """

    def __init__(self, side: int) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        empty = schema.BufferT()  # the format reserves the first one
        self._buffers, self._codes = [empty], list[Any]()
        self.image = self._tensor((1, side, side, 3))
        self._graph.inputs = [self.image.number]

    def scale(self, values: Tensor, factor: Scales, offset: Scales) -> Tensor:
        """Add ``values * factor + offset``, with one number each or one for each channel."""
        factors, offsets = (np.atleast_1d(np.asarray(numbers, np.float32)) for numbers in (factor, offset))
        return self._sum(self.multiply(values, self._constant(factors)), self._constant(offsets), "linear")

    def convolve(
        self, values: Tensor, kernel: Floats, bias: Floats, *, stride: int = 1, activation: Activation = "linear",
        is_padded: bool = True,
    ) -> Tensor:  # fmt: skip
        """Add a convolution."""
        options = self._schema.Conv2DOptionsT()
        code = self._schema.BuiltinOperator.CONV_2D
        filtered = self._filter(code, options, values, kernel, bias, stride, activation, is_padded=is_padded)
        return self._activate(filtered, activation)

    def filter_channels(
        self, values: Tensor, kernel: Floats, bias: Floats, *, stride: int = 1, activation: Activation = "linear"
    ) -> Tensor:
        """Add a depthwise convolution, which filters each channel alone."""
        options = self._schema.DepthwiseConv2DOptionsT()
        options.depthMultiplier = 1
        code = self._schema.BuiltinOperator.DEPTHWISE_CONV_2D
        filtered = self._filter(code, options, values, kernel, bias, stride, activation, is_padded=True)
        return self._activate(filtered, activation)

    def pad(self, values: Tensor, n: int) -> Tensor:
        """Add ``n`` zeros on each side of an image."""
        _, height, width, channels = values.shape
        padded = self._tensor((1, height + 2 * n, width + 2 * n, channels))
        sides = self._constant(np.array([[0, 0], [n, n], [n, n], [0, 0]], np.int32))
        self._operator(self._schema.BuiltinOperator.PAD, [values, sides], padded, self._schema.PadOptionsT())
        return padded

    def max_pool(self, values: Tensor, size: int, *, stride: int) -> Tensor:
        """Add the maximum of each channel over windows of ``size`` pixels inside the image."""
        _, height, width, channels = values.shape
        options = self._schema.Pool2DOptionsT()
        options.padding = self._schema.Padding.VALID
        options.filterHeight = options.filterWidth = size
        options.strideH = options.strideW = stride
        pooled = self._tensor((1, (height - size) // stride + 1, (width - size) // stride + 1, channels))
        self._operator(self._schema.BuiltinOperator.MAX_POOL_2D, [values], pooled, options)
        return pooled

    def add(self, first: Tensor, second: Tensor, *, activation: Activation = "linear") -> Tensor:
        """Add the sum of two values of equal shape."""
        if first.shape != second.shape:
            raise ValueError(f"Values of the shapes {first.shape} and {second.shape} cannot be added.")
        return self._sum(first, second, activation)

    def multiply(self, values: Tensor, factors: Tensor) -> Tensor:
        """Add the product of values with one factor for each channel."""
        product = self._tensor(values.shape)
        self._operator(self._schema.BuiltinOperator.MUL, [values, factors], product, self._schema.MulOptionsT())
        return product

    def average(self, values: Tensor, *, keeps_axes: bool = False) -> Tensor:
        """Add the average of each channel over the image, (1, channels); (1, 1, 1, channels) if it ``keeps_axes``."""
        channels = values.shape[-1]
        means = self._tensor((1, 1, 1, channels) if keeps_axes else (1, channels))
        options = self._schema.ReducerOptionsT()
        options.keepDims = keeps_axes
        axes = self._constant(np.array([1, 2], np.int32))
        self._operator(self._schema.BuiltinOperator.MEAN, [values, axes], means, options)
        return means

    def content(self, output: Tensor) -> bytes:
        """Return the file, with this output."""
        import flatbuffers

        self._graph.outputs = [output.number]
        model = self._schema.ModelT()
        model.version = _VERSION
        model.operatorCodes, model.subgraphs, model.buffers = self._codes, [self._graph], self._buffers
        builder = flatbuffers.Builder(sum(len(buffer.data) for buffer in self._buffers[1:]) + 2**20)
        builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
        return bytes(builder.Output())

    def _filter(
        self, code: int, options: Any, values: Tensor, kernel: Floats, bias: Floats, stride: int,
        activation: Activation, *, is_padded: bool,
    ) -> Tensor:  # fmt: skip
        _, height, width, channels = values.shape
        n_out = kernel.shape[2] if kernel.shape[3] == 1 else kernel.shape[3]
        if kernel.shape[2] != channels or len(bias) != n_out:
            raise ValueError(f"A kernel of the shape {kernel.shape} does not fit {channels} channels.")
        options.padding = self._schema.Padding.SAME if is_padded else self._schema.Padding.VALID
        options.strideH = options.strideW = stride
        options.fusedActivationFunction = self._fused(activation)
        less = 0 if is_padded else kernel.shape[0] - 1
        output = self._tensor((1, -(-(height - less) // stride), -(-(width - less) // stride), n_out))
        inputs = [values, self._constant(kernel.transpose(3, 0, 1, 2)), self._constant(bias)]
        self._operator(code, inputs, output, options)
        return output

    def _sum(self, first: Tensor, second: Tensor, activation: Activation) -> Tensor:
        options = self._schema.AddOptionsT()
        options.fusedActivationFunction = self._fused(activation)
        total = self._tensor(first.shape)
        self._operator(self._schema.BuiltinOperator.ADD, [first, second], total, options)
        return total

    def _fused(self, activation: Activation) -> int:
        """Return the activation that a layer computes with its output: the format has none for the others."""
        functions = self._schema.ActivationFunctionType
        return int({"relu": functions.RELU, "relu6": functions.RELU6}.get(activation, functions.NONE))

    def _activate(self, values: Tensor, activation: Activation) -> Tensor:
        """Add an activation that is a layer in the format."""
        if activation not in ("swish", "sigmoid"):
            return values
        logistic = self._tensor(values.shape)
        self._operator(self._schema.BuiltinOperator.LOGISTIC, [values], logistic)
        return self.multiply(values, logistic) if activation == "swish" else logistic

    def _tensor(self, shape: tuple[int, ...], values: NDArray[Any] | None = None) -> Tensor:
        types = self._schema.TensorType
        tensor = self._schema.TensorT()
        tensor.shape = list(shape)
        tensor.type = types.FLOAT32 if values is None or values.dtype == np.float32 else types.INT32
        tensor.buffer = 0
        if values is not None:
            buffer = self._schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            tensor.buffer = len(self._buffers)
            self._buffers.append(buffer)
        self._graph.tensors.append(tensor)
        return Tensor(len(self._graph.tensors) - 1, shape)

    def _constant(self, values: NDArray[Any]) -> Tensor:
        return self._tensor(values.shape, values)

    def _operator(self, code: int, inputs: list[Tensor], output: Tensor, options: Any = None) -> None:
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._code(code)
        operator.inputs, operator.outputs = [tensor.number for tensor in inputs], [output.number]
        if options is not None:
            operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
            operator.builtinOptions = options
        self._graph.operators.append(operator)

    def _code(self, code: int) -> int:
        """Return the place of an operation in the file's list of operations."""
        for place, existing in enumerate(self._codes):
            if existing.builtinCode == code:
                return place
        operation = self._schema.OperatorCodeT()
        operation.builtinCode = operation.deprecatedBuiltinCode = code
        operation.version = 1
        self._codes.append(operation)
        return len(self._codes) - 1
