"""Assemble a LiteRT file from layers and their weights, without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
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
    Images are padded as TensorFlow's "SAME" does. The result is float32, from an image (1, side, side, 3).
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

    def scale(self, values: Tensor, factor: float, offset: float) -> Tensor:
        """Add ``values * factor + offset``."""
        ops = self._schema.BuiltinOperator
        scaled = self._tensor(values.shape)
        self._operator(
            ops.MUL, [values, self._constant(np.array([factor], np.float32))], scaled, self._schema.MulOptionsT()
        )
        moved = self._tensor(values.shape)
        self._operator(
            ops.ADD, [scaled, self._constant(np.array([offset], np.float32))], moved, self._schema.AddOptionsT()
        )
        return moved

    def convolve(self, values: Tensor, kernel: Floats, bias: Floats, *, stride: int = 1, relu6: bool = True) -> Tensor:
        """Add a convolution, followed by ReLU6 if ``relu6``."""
        options = self._schema.Conv2DOptionsT()
        code = self._schema.BuiltinOperator.CONV_2D
        return self._filter(code, options, values, kernel, bias, kernel.shape[3], stride, relu6=relu6)

    def filter_channels(self, values: Tensor, kernel: Floats, bias: Floats, *, stride: int = 1) -> Tensor:
        """Add a depthwise convolution, which filters each channel alone, followed by ReLU6."""
        options = self._schema.DepthwiseConv2DOptionsT()
        options.depthMultiplier = 1
        code = self._schema.BuiltinOperator.DEPTHWISE_CONV_2D
        return self._filter(code, options, values, kernel, bias, kernel.shape[2], stride, relu6=True)

    def add(self, first: Tensor, second: Tensor) -> Tensor:
        """Add the sum of two values of equal shape."""
        if first.shape != second.shape:
            raise ValueError(f"Values of the shapes {first.shape} and {second.shape} cannot be added.")
        total = self._tensor(first.shape)
        self._operator(self._schema.BuiltinOperator.ADD, [first, second], total, self._schema.AddOptionsT())
        return total

    def average(self, values: Tensor) -> Tensor:
        """Add the average of each channel over the image, (1, channels)."""
        means = self._tensor((1, values.shape[-1]))
        axes = self._constant(np.array([1, 2], np.int32))
        self._operator(self._schema.BuiltinOperator.MEAN, [values, axes], means, self._schema.ReducerOptionsT())
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
        self, code: int, options: Any, values: Tensor, kernel: Floats, bias: Floats, n_out: int, stride: int, *,
        relu6: bool,
    ) -> Tensor:  # fmt: skip
        _, height, width, channels = values.shape
        if kernel.shape[2] != channels or len(bias) != n_out:
            raise ValueError(f"A kernel of the shape {kernel.shape} does not fit {channels} channels.")
        options.padding = self._schema.Padding.SAME
        options.strideH = options.strideW = stride
        activations = self._schema.ActivationFunctionType
        options.fusedActivationFunction = activations.RELU6 if relu6 else activations.NONE
        output = self._tensor((1, -(-height // stride), -(-width // stride), n_out))
        self._operator(
            code, [values, self._constant(kernel.transpose(3, 0, 1, 2)), self._constant(bias)], output, options
        )
        return output

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

    def _operator(self, code: int, inputs: list[Tensor], output: Tensor, options: Any) -> None:
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._code(code)
        operator.inputs, operator.outputs = [tensor.number for tensor in inputs], [output.number]
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
