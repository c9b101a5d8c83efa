"""Sums of pixels in one vector register, which numba does not find by itself."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_FLOAT, _INT = ir.FloatType(), ir.IntType(32)
_PIXEL = ir.VectorType(_FLOAT, 4)


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator] # numba is not typed
def blended_pixel(context: Any, line: Any, place: Any, weights: Any, first: Any, taps: Any) -> Any:  # noqa: ARG001 - numba's signature
    """The weighted sum of ``taps`` neighbouring RGBX pixels, rounded: uint32, red in its lowest byte.

    line: (M,) float32, four values a pixel, from ``place`` on. weights: (W,) float32, from ``first`` on.
    taps: a literal number: the sum is unrolled.
    """
    if not isinstance(taps, types.IntegerLiteral):
        return None
    signature = types.uint32(line, place, weights, first, taps)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, factors = (
            context.make_array(signature.args[which])(context, builder, arguments[which]).data
            for which in (0, 2)
        )
        multiply_add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_PIXEL, [_PIXEL] * 3), "llvm.fmuladd.v4f32"
        )
        undefined, to_all = ir.Constant(_PIXEL, ir.Undefined), ir.Constant(ir.VectorType(_INT, 4), [0] * 4)
        total = ir.Constant(_PIXEL, [0.5] * 4)  # so that cutting the fraction off rounds
        for tap in range(taps.literal_value):
            at = builder.add(arguments[1], ir.Constant(arguments[1].type, 4 * tap))
            pixel = builder.load(builder.bitcast(builder.gep(values, [at]), _PIXEL.as_pointer()), align=4)
            at = builder.add(arguments[3], ir.Constant(arguments[3].type, tap))
            factor = builder.insert_element(
                undefined, builder.load(builder.gep(factors, [at])), ir.Constant(_INT, 0)
            )
            factor = builder.shuffle_vector(factor, undefined, to_all)
            total = builder.call(multiply_add, [pixel, factor, total])
        whole = builder.fptosi(total, ir.VectorType(_INT, 4))
        return builder.bitcast(builder.trunc(whole, ir.VectorType(ir.IntType(8), 4)), _INT)

    return signature, generate
