"""The autoencoder in PyTorch: plain modules, channels last, autocast for bfloat16."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.bench import phrases
from tests.bench.arithmetic import PHRASE
from tests.bench.contender import Contender
from wae_jax.models.networks import NETWORKS, TRACKS, Conv

_DENSITY = 0.019
_NUM_BATCHES = 4
_MOST_PHRASES = 512  # that differ in a batch
_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class SameConv(nn.Module):
    """A strided convolution with TensorFlow's "same" padding, which may be one longer behind than in front."""

    def __init__(self, spec: Conv, inputs: int, outputs: int) -> None:
        super().__init__()
        kernel = spec.kernel or (6, 6)
        total = [max(k - s, 0) for k, s in zip(kernel, spec.strides, strict=True)]
        self.more = [0, total[1] % 2, 0, total[0] % 2]
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, spec.strides, padding=tuple(t // 2 for t in total), bias=spec.use_bias
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(nn.functional.pad(x, self.more) if any(self.more) else x)


class SameConvTranspose(nn.Module):
    """The transposed convolution that Keras calls "same": s times the size."""

    def __init__(self, spec: Conv, inputs: int, outputs: int) -> None:
        super().__init__()
        kernel = spec.kernel or (6, 6)
        total = [max(k - s, 0) for k, s in zip(kernel, spec.strides, strict=True)]
        missing = [max(s - k, 0) for k, s in zip(kernel, spec.strides, strict=True)]
        self.strides = spec.strides
        self.conv = nn.ConvTranspose2d(
            inputs,
            outputs,
            kernel,
            spec.strides,
            padding=tuple(t // 2 for t in total),
            output_padding=tuple(missing),
            bias=spec.use_bias,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)[:, :, : x.shape[2] * self.strides[0], : x.shape[3] * self.strides[1]]


def _norm(channels: int, kind: Any = nn.BatchNorm2d) -> nn.Module:
    return kind(channels, eps=1e-3, momentum=0.01)


def _dropout(rate: float) -> list[nn.Module]:
    return [nn.Dropout(rate)] if rate else []


class Encoder(nn.Module):
    """Piano-rolls [B, K, T, P] to codes [B, Z]."""

    def __init__(self, network: str, h_dim: int, z_dim: int, dropout_rate: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        steps, pitches, channels = PHRASE
        for spec in NETWORKS[network].encoder:
            filters = spec.filters * h_dim
            layers += [SameConv(spec, channels, filters), _norm(filters), nn.ReLU()]
            steps, pitches, channels = steps // spec.strides[0], pitches // spec.strides[1], filters
        self.convs = nn.Sequential(*layers)
        self.code = nn.Sequential(*_dropout(dropout_rate), nn.Linear(steps * pitches * channels, z_dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # As it lies in memory with channels last, so that nothing is copied.
        return self.code(self.convs(x).permute(0, 2, 3, 1).flatten(1))


class Decoder(nn.Module):
    """Codes [B, Z] to logits [B, K, T, P]."""

    def __init__(self, network: str, h_dim: int, z_dim: int, dropout_rate: float = 0.0) -> None:
        super().__init__()
        row = NETWORKS[network]
        self.shape, dense = (1, 1, z_dim), []
        if row.start is not None:
            self.shape = (row.start[0], row.start[1], row.start[2] * h_dim)
            units = math.prod(self.shape)
            dense = [nn.Linear(z_dim, units)]
            dense += [_norm(units, nn.BatchNorm1d)] * row.normalize_start
            dense += [nn.ReLU(), *_dropout(dropout_rate)]
        self.start = nn.Sequential(*dense)
        layers: list[nn.Module] = []
        channels = self.shape[2]
        for spec in row.decoder[:-1]:
            filters = PHRASE[2] if spec.filters == TRACKS else spec.filters * h_dim
            layers += [SameConvTranspose(spec, channels, filters), _norm(filters), nn.ReLU()]
            channels = filters
        self.convs = nn.Sequential(*layers, SameConvTranspose(row.decoder[-1], channels, PHRASE[2]))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.convs(self.start(z).view(-1, *self.shape).permute(0, 3, 1, 2))


def _truncated_normal(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.05, a=-0.1, b=0.1)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _place(module: nn.Module) -> nn.Module:
    return module.apply(_truncated_normal).to(_DEVICE, memory_format=torch.channels_last)


def _squared_distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a.square().sum(1)[:, None] + b.square().sum(1)[None, :] - 2.0 * a @ b.T


def mmd_squared(z: torch.Tensor, z_prior: torch.Tensor) -> torch.Tensor:
    """The U-statistic with seven inverse multiquadratics, for a prior of variance 1."""
    n = len(z)
    within_z, within_prior = _squared_distances(z, z), _squared_distances(z_prior, z_prior)
    between = _squared_distances(z, z_prior)
    off_diagonal = 1.0 - torch.eye(n, device=z.device)
    total = torch.zeros((), device=z.device)
    for scale in _SCALES:
        c = 2.0 * z.shape[1] * scale
        within = off_diagonal * (c / (c + within_z) + c / (c + within_prior))
        total = total + within.sum() / (n * (n - 1)) - 2.0 * (c / (c + between)).mean()
    return total


def _autocast(dtype: str) -> Any:
    if dtype == "bfloat16":
        return torch.autocast(_DEVICE, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _wait() -> None:
    if _DEVICE == "cuda":
        torch.cuda.synchronize()


def _facts() -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name() if _DEVICE == "cuda" else "cpu",
        "library": f"torch {torch.__version__}",
    }


def _device_memory() -> int | None:
    return torch.cuda.max_memory_allocated() if _DEVICE == "cuda" else None


def _random_phrases(batch_size: int, seed: int) -> np.ndarray:
    some = np.random.default_rng(seed).random((min(batch_size, _MOST_PHRASES), *PHRASE), np.float32) < _DENSITY
    return np.resize(some, (batch_size, *PHRASE))


def _make_step(
    encoder: nn.Module, decoder: nn.Module, *, batch_size: int, z_dim: int, dtype: str, compiled: bool
) -> tuple[Callable[[torch.Tensor], None], int]:
    """The step of WAE-MMD on float batches [B, K, T, P], and the number of parameters."""
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, eps=1e-7, fused=True)

    def loss_of(x: torch.Tensor, z_prior: torch.Tensor) -> torch.Tensor:
        with _autocast(dtype):
            z = encoder(x)
            logits = decoder(z)
        reconstruction = (x - logits.float().sigmoid()).square().sum((1, 2, 3)).mean()
        return 0.5 * reconstruction + 100.0 * mmd_squared(z.float(), z_prior)

    loss_of = torch.compile(loss_of) if compiled else loss_of

    def step(x: torch.Tensor) -> None:
        loss = loss_of(x, torch.randn(batch_size, z_dim, device=_DEVICE))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step, sum(parameter.numel() for parameter in parameters)


def _prepare() -> None:
    torch.backends.cudnn.benchmark = True
    if _DEVICE == "cuda":
        # Products as cuDNN's convolutions and XLA have them by default: of float32 in TF32.
        torch.set_float32_matmul_precision("high")
        torch.cuda.reset_peak_memory_stats()
    # Of another batch in this process: a second size would make the sizes of the program variables.
    torch.compiler.reset()


def _on_device(x: np.ndarray) -> torch.Tensor:
    """Phrases [B, T, P, K] as floats [B, K, T, P], with channels last in memory, as they come."""
    return torch.from_numpy(x).to(_DEVICE).float().permute(0, 3, 1, 2)


def train_step(*, network: str, batch_size: int, h_dim: int, z_dim: int, dtype: str, compiled: bool) -> Contender:
    """One step of WAE-MMD, on float batches in the device's memory."""
    _prepare()
    encoder, decoder = _place(Encoder(network, h_dim, z_dim)), _place(Decoder(network, h_dim, z_dim))
    step, parameters = _make_step(encoder, decoder, batch_size=batch_size, z_dim=z_dim, dtype=dtype, compiled=compiled)
    batches = [_on_device(_random_phrases(batch_size, seed)) for seed in range(_NUM_BATCHES)]

    def run(steps: int) -> None:
        for i in range(steps):
            step(batches[i % _NUM_BATCHES])
        _wait()

    return Contender(run, {"parameters": parameters, **_facts()}, _device_memory)


def training_run(
    *, data: str, seed: int, network: str, batch_size: int, h_dim: int, z_dim: int, dtype: str, dropout_rate: float
) -> Contender:
    """That step, compiled, on the phrases of a dataset."""
    _prepare()
    torch.manual_seed(seed)
    encoder = _place(Encoder(network, h_dim, z_dim, dropout_rate))
    decoder = _place(Decoder(network, h_dim, z_dim, dropout_rate))
    step, parameters = _make_step(encoder, decoder, batch_size=batch_size, z_dim=z_dim, dtype=dtype, compiled=True)
    train_rows, valid_rows = phrases.open_splits(data)
    done = 0

    def run(steps: int) -> None:
        nonlocal done
        for _ in range(steps):
            step(_on_device(phrases.training_batch(train_rows, done, seed=seed, batch_size=batch_size)))
            done += 1
        _wait()

    @torch.compile
    def probabilities(x: torch.Tensor) -> torch.Tensor:
        with _autocast(dtype):
            logits = decoder(encoder(x))
        return logits.float().sigmoid()

    @torch.no_grad()
    def measure() -> dict[str, Any]:
        for half in (encoder, decoder):
            half.eval()
        score = phrases.f1_of_reconstructions(
            lambda x: probabilities(_on_device(x)).permute(0, 2, 3, 1).cpu().numpy(), valid_rows, batch_size=batch_size
        )
        for half in (encoder, decoder):
            half.train()
        return {"f1": score, "steps": done}

    return Contender(run, {"parameters": parameters, **_facts()}, _device_memory, measure)


def decode(*, network: str, batch_size: int, h_dim: int, z_dim: int, dtype: str) -> Contender:
    """Codes to probabilities, both in the host's memory."""
    decoder = torch.compile(_place(Decoder(network, h_dim, z_dim)).eval())
    codes = np.random.default_rng(0).standard_normal((batch_size, z_dim), np.float32)

    @torch.no_grad()
    def run(steps: int) -> None:
        for _ in range(steps):
            with _autocast(dtype):
                logits = decoder(torch.from_numpy(codes).to(_DEVICE))
            logits.float().sigmoid().permute(0, 2, 3, 1).cpu().numpy()

    return Contender(run, _facts(), _device_memory)


def encode(*, network: str, batch_size: int, h_dim: int, z_dim: int, dtype: str) -> Contender:
    """Phrases to codes, both in the host's memory."""
    encoder = torch.compile(_place(Encoder(network, h_dim, z_dim)).eval())
    phrases = _random_phrases(batch_size, 0)

    @torch.no_grad()
    def run(steps: int) -> None:
        for _ in range(steps):
            x = torch.from_numpy(phrases).to(_DEVICE).float().permute(0, 3, 1, 2)
            with _autocast(dtype):
                z = encoder(x)
            z.float().cpu().numpy()

    return Contender(run, _facts(), _device_memory)


def mmd(*, num: int, z_dim: int) -> Contender:
    """The U-statistic over whole matrices of distances."""
    z, z_prior = 1.1 * torch.randn(num, z_dim, device=_DEVICE), torch.randn(num, z_dim, device=_DEVICE)

    @torch.no_grad()
    def run(steps: int) -> None:
        for _ in range(steps):
            mmd_squared(z, z_prior).item()

    return Contender(run, _facts(), _device_memory)
