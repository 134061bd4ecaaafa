"""The calls of the training loop as accelerators get them: lowered for CUDA and TPUs on whatever machine this is."""

import collections
import functools

import jax
import jax.numpy as jnp
import pytest

from tests.helpers import DENSITIES, changed
from wae_jax import pianoroll
from wae_jax.config import Config
from wae_jax.data.pipeline import Batch
from wae_jax.models.networks import NETWORKS
from wae_jax.training.calls import parallel_step
from wae_jax.training.evaluation_step import make_evaluate_step
from wae_jax.training.state import create_train_state
from wae_jax.training.step import make_train_step

STEPS, BATCH = 8, 4
# Each pair of a network, a type and a penalty occurs.
CASES = [("meter", "f32", "mmd"), ("meter", "bf16", "gan"), ("alt", "f32", "gan"), ("alt", "bf16", "mmd")]
DTYPES = {"f32": "float32", "bf16": "bfloat16"}
ACCELERATORS = ("cuda", "tpu")


@functools.cache
def lowered(network, dtype, penalty, platform):
    """The operations of a call of several steps, by name."""
    return operations(traced(network, dtype, penalty), platform)


def operations(traced_call, platform):
    module = traced_call.lower(lowering_platforms=(platform,)).compiler_ir()
    found = collections.defaultdict(list)
    waiting = [module.operation]
    while waiting:
        operation = waiting.pop()
        found[operation.name].append(operation)
        waiting += [each.operation for region in operation.regions for block in region for each in block]
    # Operations are part of their module, and gone with it.
    return module, found


@functools.cache
def traced(network, dtype, penalty):
    config, state = config_and_state(network, dtype, penalty)
    rows = jax.ShapeDtypeStruct((1, STEPS, BATCH, pianoroll.BYTES_PER_PHRASE), jnp.uint8)
    batches = Batch(rows, jax.ShapeDtypeStruct(rows.shape[:3], jnp.int32))
    one_step = make_train_step(config, num_train_steps=STEPS)
    return jax.jit(parallel_step(functools.partial(jax.lax.scan, one_step))).trace(state, batches)


def config_and_state(network, dtype, penalty):
    config = changed(
        Config(), dtype=DTYPES[dtype], batch_size=BATCH, model__network=network, objective__penalty=penalty
    )
    return config, create_train_state(config, track_densities=DENSITIES, num_train_steps=STEPS)


def numbers(operation, name):
    return tuple(operation.attributes[name])


def described(convolution):
    """Strides, dilation of the input and dilation of the kernel."""
    return tuple(numbers(convolution, name) for name in ("window_strides", "lhs_dilation", "rhs_dilation"))


def convolutions_of(network):
    """What plain convolutions of a step of a network are, from its row of the table."""
    one = (1, 1)
    row = NETWORKS[network]
    strided = [(spec.strides, one, one) for spec in (*row.encoder, *row.decoder)]  # the decoder's in its gradient
    adjoint = [(one, spec.strides, one) for spec in (*row.encoder[1:], *row.decoder)]  # no gradient of the data
    kernel_gradients = [(one, one, spec.strides) for spec in (*row.encoder, *row.decoder)]
    return collections.Counter(strided + adjoint + kernel_gradients)


@pytest.mark.parametrize("platform", ACCELERATORS)
@pytest.mark.parametrize(("network", "dtype", "penalty"), CASES)
def test_accelerators_get_plain_convolutions_in_the_type_of_the_run(network, dtype, penalty, platform):
    _, found = lowered(network, dtype, penalty, platform)
    convolutions = found["stablehlo.convolution"]
    assert collections.Counter(map(described, convolutions)) == convolutions_of(network)
    for convolution in convolutions:
        types = [value.type.element_type for value in (*convolution.operands, *convolution.results)]
        assert [str(each) for each in types] == [dtype] * 3


@pytest.mark.parametrize("platform", ACCELERATORS)
@pytest.mark.parametrize(("network", "dtype", "penalty"), CASES)
def test_the_only_loop_is_that_of_the_steps_and_nothing_goes_back_to_the_host(network, dtype, penalty, platform):
    _, found = lowered(network, dtype, penalty, platform)
    assert len(found["stablehlo.while"]) == 1
    targets = [str(each.attributes["call_target_name"]) for each in found["stablehlo.custom_call"]]
    assert not [target for target in targets if any(word in target.lower() for word in ("callback", "lapack", "cpu"))]
    assert not found["stablehlo.infeed"] + found["stablehlo.outfeed"]


@pytest.mark.parametrize(("network", "dtype", "penalty"), CASES)
def test_gradients_of_inputs_have_the_form_that_cudnn_computes(network, dtype, penalty):
    """XLA's rewriter of convolutions takes one with a dilated input for such a gradient if its kernel is reversed."""
    _, found = lowered(network, dtype, penalty, "cuda")
    dilated = [each for each in found["stablehlo.convolution"] if numbers(each, "lhs_dilation") != (1, 1)]
    assert dilated
    assert {each.operands[1].owner.name for each in dilated} == {"stablehlo.reverse"}


def test_evaluations_have_plain_convolutions_and_no_loop():
    config, state = config_and_state("meter", "bf16", "gan")
    rows = jax.ShapeDtypeStruct((1, BATCH, pianoroll.BYTES_PER_PHRASE), jnp.uint8)
    batch = Batch(rows, jax.ShapeDtypeStruct(rows.shape[:2], jnp.int32))
    _, found = operations(jax.jit(parallel_step(make_evaluate_step(config))).trace(state, batch), "cuda")
    row, one = NETWORKS["meter"], (1, 1)
    expected = [(spec.strides, one, one) for spec in row.encoder] + [(one, spec.strides, one) for spec in row.decoder]
    assert collections.Counter(map(described, found["stablehlo.convolution"])) == collections.Counter(expected)
    assert not found["stablehlo.while"]


def test_cpus_get_their_own_form():
    """So that the tests above can fail."""
    _, found = lowered("meter", "f32", "mmd", "cpu")
    assert collections.Counter(map(described, found["stablehlo.convolution"])) != convolutions_of("meter")
    assert len(found["stablehlo.while"]) > 1
