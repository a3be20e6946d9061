"""How compiled loops call the row functions of a game (gamesim.kernels.rows): by address, through C."""

# mypy: ignore-errors
from llvmlite import ir
from numba import int64, types, void
from numba.core.cgutils import unpack_tuple
from numba.extending import intrinsic

from gamesim.kernels.rows import EXPECT, PUSH, REWARD, arguments


def _caller(letters):
    """call(address, arguments) of a row function; numba's own first-class functions cost 4 to 8 us each."""
    given = arguments(letters).args

    @intrinsic
    def call(context, address, values):
        def code(context, builder, signature, values):
            function = ir.FunctionType(ir.VoidType(), [context.get_value_type(kind) for kind in given])
            builder.call(builder.inttoptr(values[0], function.as_pointer()), unpack_tuple(builder, values[1]))
            return context.get_dummy_value()

        return void(int64, types.Tuple(given)), code

    return call


call_reward, call_expect, call_push = (_caller(letters) for letters in (REWARD, EXPECT, PUSH))
