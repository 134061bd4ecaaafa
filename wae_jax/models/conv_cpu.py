"""The three operations of `conv` in forms that XLA compiles to fast code for CPUs.

There, dilated convolutions, plain kernel gradients, and convolutions from or to few channels are many times slower than
stride-1 convolutions of many channels and matrix products. So blocks of cells become channels: b_h x b_w cells of the
operation's larger side, and the (b_h / s_h) x (b_w / s_w) cells of its smaller side that belong to them. Between blocks
the strides are 1. The price is zeros in the kernel, where a cell of one block does not reach a cell of another.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from wae_jax.models.conv_plain import LAYOUT, conv_plain, same_padding

Pair = tuple[int, int]

# Measured: XLA's convolution reads four channels at a time, or else one by one, and writes some thirty at a time.
_CHANNELS_READ_TOGETHER = 4
_CHANNELS_WRITTEN_TOGETHER = 30


def conv_by_blocks(
    x: Float[Array, "B H W I"], kernel: Float[Array, "k_h k_w I O"], strides: Pair
) -> Float[Array, "B H//{strides[0]} W//{strides[1]} O"]:
    """`conv_plain`, in blocks unless the number of input channels suits XLA; one product if patches do not overlap."""
    height, width, inputs = x.shape[1:]
    if _sizes(kernel) == strides:
        return _to_blocks(x, strides) @ kernel.reshape(-1, kernel.shape[3])
    if inputs % _CHANNELS_READ_TOGETHER == 0:
        return conv_plain(x, kernel, strides)
    block = _block_to_read((height, width), inputs, _sizes(kernel), strides)
    taps = _taps(_sizes(kernel), strides, block)
    x = _to_blocks(x, block, _in_front(_sizes(kernel), strides))
    padding = [(0, (height, width)[i] // block[i] + taps[i] - 1 - x.shape[1 + i]) for i in (0, 1)]
    y = lax.conv_general_dilated(
        x, _kernel_of_blocks(kernel, strides, block), (1, 1), padding, dimension_numbers=LAYOUT
    )
    return _to_cells(y, (block[0] // strides[0], block[1] // strides[1]))


def adjoint_by_blocks(
    y: Float[Array, "B H W O"], kernel: Float[Array, "k_h k_w I O"], strides: Pair
) -> Float[Array, "B H*{strides[0]} W*{strides[1]} I"]:
    """`adjoint_plain`, in blocks; one product if patches do not overlap."""
    if _sizes(kernel) == strides:
        return _to_cells(y @ kernel.reshape(-1, kernel.shape[3]).T, strides)
    size = (y.shape[1] * strides[0], y.shape[2] * strides[1])
    block = _block_to_write(size, kernel.shape[2], strides)
    taps = _taps(_sizes(kernel), strides, block)
    before = _in_front(_sizes(kernel), strides)
    y = _to_blocks(y, (block[0] // strides[0], block[1] // strides[1]))
    adjoint = jnp.flip(_kernel_of_blocks(kernel, strides, block), (0, 1)).swapaxes(2, 3)
    padding = [(taps[i] - 1, -(-(before[i] + size[i]) // block[i]) - y.shape[1 + i]) for i in (0, 1)]
    z = _to_cells(lax.conv_general_dilated(y, adjoint, (1, 1), padding, dimension_numbers=LAYOUT), block)
    return z[:, before[0] : before[0] + size[0], before[1] : before[1] + size[1]]


def _sizes(kernel: Array) -> Pair:
    return kernel.shape[0], kernel.shape[1]


def _in_front(kernel_size: Pair, strides: Pair) -> Pair:
    """Numbers of rows and columns of zeros in front of the input."""
    return same_padding(kernel_size[0], strides[0])[0], same_padding(kernel_size[1], strides[1])[0]


def _taps(kernel_size: Pair, strides: Pair, block: Pair) -> Pair:
    """Size of the kernel of blocks: numbers of blocks of the input that one block of outputs depends on."""
    rows, columns = (-(-(block[i] - strides[i] + kernel_size[i]) // block[i]) for i in (0, 1))
    return rows, columns


def _blocks_that_fit(size: Pair, strides: Pair) -> Iterator[Pair]:
    """Multiples of the strides that divide a size, in ascending order of rows."""
    for rows in range(strides[0], size[0] + 1, strides[0]):
        for columns in range(strides[1], size[1] + 1, strides[1]):
            if size[0] % rows == size[1] % columns == 0:
                yield rows, columns


def _block_to_read(size: Pair, channels: int, kernel_size: Pair, strides: Pair) -> Pair:
    """The block with the least arithmetic whose number of channels suits XLA; the strides if there is none."""

    def work(block: Pair) -> int:
        taps = _taps(kernel_size, strides, block)
        return taps[0] * block[0] * taps[1] * block[1]

    enough = (
        block
        for block in _blocks_that_fit(size, strides)
        if block[0] * block[1] * channels % _CHANNELS_READ_TOGETHER == 0
    )
    return min(enough, key=work, default=strides)


def _block_to_write(size: Pair, channels: int, strides: Pair) -> Pair:
    """The narrowest block of one stride's rows with enough channels; the strides if there is none."""
    for rows, columns in _blocks_that_fit((strides[0], size[1]), strides):
        if rows * columns * channels >= _CHANNELS_WRITTEN_TOGETHER:
            return rows, columns
    return strides


def _to_blocks(x: Float[Array, "B H W C"], block: Pair, front: Pair = (0, 0)) -> Float[Array, "B h w c"]:
    """Blocks of cells as channels, in the order row, column, channel, with `front` rows and columns of zeros first."""
    count = [-(-(front[i] + x.shape[1 + i]) // block[i]) for i in (0, 1)]
    behind = [count[i] * block[i] - front[i] - x.shape[1 + i] for i in (0, 1)]
    x = jnp.pad(x, [(0, 0), (front[0], behind[0]), (front[1], behind[1]), (0, 0)])
    x = x.reshape(len(x), count[0], block[0], count[1], -1).transpose(0, 1, 3, 2, 4)
    return x.reshape(len(x), *count, -1)


def _to_cells(y: Float[Array, "B h w c"], block: Pair) -> Float[Array, "B H W C"]:
    """Cells from blocks; the inverse of `_to_blocks`."""
    batch, rows, columns, channels = y.shape
    y = y.reshape(batch, rows, columns, block[0], channels // block[0]).transpose(0, 1, 3, 2, 4)
    return y.reshape(batch, rows * block[0], columns * block[1], -1)


def _kernel_of_blocks(
    kernel: Float[Array, "k_h k_w I O"], strides: Pair, block: Pair
) -> Float[Array, "taps_h taps_w i o"]:
    """The kernel between blocks: from all cells of the input blocks of one output block to all of its cells."""
    taps = _taps(_sizes(kernel), strides, block)
    moved = [
        jnp.pad(
            kernel,
            [
                (row, taps[0] * block[0] - kernel.shape[0] - row),
                (column, taps[1] * block[1] - kernel.shape[1] - column),
                (0, 0),
                (0, 0),
            ],
        )
        for row in range(0, block[0], strides[0])
        for column in range(0, block[1], strides[1])
    ]
    cells = jnp.stack(moved, axis=3).reshape(taps[0], block[0], taps[1], block[1], kernel.shape[2], -1)
    return cells.transpose(0, 2, 1, 3, 4, 5).reshape(*taps, block[0] * block[1] * kernel.shape[2], -1)


def kernel_gradient_by_products(
    x: Float[Array, "B H W I"],
    y: Float[Array, "B H//{strides[0]} W//{strides[1]} O"],
    kernel_size: tuple[int, int],
    strides: tuple[int, int],
) -> Float[Array, "{kernel_size[0]} {kernel_size[1]} I O"]:
    """`kernel_gradient_plain` as one matrix product of `x` with shifted copies of `y`, a few phrases at a time.

    Strides become channels first, so that one shift of `y` serves a block of the kernel's cells. If channels are few,
    neighboring columns are joined for larger matrices; the kernel's columns are then spread over several shifts and
    summed at the end. `y` is padded to the columns of `x`: a shift by rows and columns is then one shift in memory.
    """
    batch, height, width, outputs = y.shape
    inputs = x.shape[3]
    join = _columns_to_join(width, inputs, outputs, kernel_size, strides)
    block = (strides[0], strides[1] * join)
    taps = _taps(kernel_size, strides, block)
    grid = (height + taps[0] - 1, width // join + taps[1] - 1)  # blocks of the padded input
    depth = block[0] * block[1] * inputs

    # As many phrases at a time as keep the operands near four megabytes, to stay in cache.
    wanted = max(1, 2**20 // ((taps[0] * taps[1] * join * outputs + depth) * grid[0] * grid[1]))
    chunk = next(c for c in range(min(wanted, batch), 0, -1) if batch % c == 0)
    cells = chunk * grid[0] * grid[1]
    before = _in_front(kernel_size, strides)
    after = [grid[i] * block[i] - before[i] - x.shape[1 + i] for i in (0, 1)]
    x = jnp.pad(x, [(0, 0), (before[0], max(after[0], 0)), (before[1], max(after[1], 0)), (0, 0)])
    x = _to_blocks(x[:, : grid[0] * block[0], : grid[1] * block[1]], block).reshape(batch // chunk, cells, depth)
    y = y.reshape(batch, height, width // join, join * outputs)
    y = jnp.pad(y, ((0, 0), (0, grid[0] - height), (0, grid[1] - width // join), (0, 0)))
    shifts = [i * grid[1] + j for i in range(taps[0]) for j in range(taps[1])]
    y = jnp.pad(y.reshape(batch // chunk, cells, join * outputs), ((0, 0), (shifts[-1], 0), (0, 0)))
    accumulate = jnp.promote_types(x.dtype, jnp.float32)

    def add(total: Array, some: tuple[Array, Array]) -> tuple[Array, None]:
        x_some, y_some = some
        shifted = jnp.concatenate([y_some[shifts[-1] - shift :][:cells] for shift in shifts], axis=1)
        return total + jnp.einsum("nd,no->do", x_some, shifted, preferred_element_type=accumulate), None

    total, _ = lax.scan(add, jnp.zeros((depth, len(shifts) * join * outputs), accumulate), (x, y))

    total = total.reshape(block[0], block[1], inputs, taps[0], taps[1], join, outputs).transpose(3, 0, 4, 1, 2, 5, 6)
    total = total.reshape(taps[0] * block[0], taps[1] * block[1], inputs, join, outputs)
    parts = [total[: kernel_size[0], strides[1] * j : strides[1] * j + kernel_size[1], :, j] for j in range(join)]
    return sum(parts[1:], parts[0]).astype(x.dtype)


def _columns_to_join(
    width: int, inputs: int, outputs: int, kernel_size: tuple[int, int], strides: tuple[int, int]
) -> int:
    """The number of columns with the least arithmetic, if matrices of fewer than 64 rows cost as much as of 64."""

    def work(join: int) -> int:
        block = (strides[0], strides[1] * join)
        taps = _taps(kernel_size, strides, block)
        cells = taps[0] * taps[1] * (width // join + taps[1] - 1)
        return cells * max(block[0] * block[1] * inputs, 64) * join * outputs

    return min((join for join in range(1, width + 1) if width % join == 0), key=work)
