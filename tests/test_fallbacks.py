"""The private functions of torch that are used where they exist, and what is done without them."""

import pytest
import torch
from conftest import ARCHS, tiny_model

from iwae_cli.models import matmul
from iwae_cli.training.optimizers import adam


def inputs(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(300, 200, generator=generator)
    weight = torch.randn(150, 200, generator=generator) / 14
    bias = torch.randn(150, generator=generator)
    return rows.to(dtype), weight.to(dtype), bias.to(dtype)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 2e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("tanh", [False, True])
def test_products_without_onednn_are_the_same(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, error: float, tanh: bool
) -> None:
    rows, weight, bias = inputs(dtype)
    with torch.no_grad():
        fast = matmul.product(rows, weight, bias, tanh=tanh)
        outer = matmul.sum_of_outer_products(rows, fast)
        monkeypatch.setattr(matmul, "ONEDNN", frozenset())
        torch.testing.assert_close(
            matmul.product(rows, weight, bias, tanh=tanh), fast, atol=5 * error, rtol=error
        )
        slow = matmul.sum_of_outer_products(rows, fast)
        torch.testing.assert_close(slow, outer, atol=300 * error, rtol=error)


def test_a_build_without_that_product_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> torch.Tensor:
        raise AttributeError("_linear_pointwise")

    def other(*_: object) -> torch.Tensor:
        return torch.zeros(2, 2)

    def float32_alone(rows: torch.Tensor, *_: object) -> torch.Tensor:
        if rows.dtype == torch.bfloat16:
            raise RuntimeError("could not create a primitive descriptor")
        return rows @ rows

    for function, types in ((missing, set()), (other, set()), (float32_alone, {torch.float32})):
        monkeypatch.setattr(matmul, "linear_by_onednn", function)
        assert matmul.types_of_onednn() == types


def test_without_the_probe_of_transforms_nothing_is_reused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with torch.no_grad():
        assert matmul.unobserved()
        monkeypatch.setattr(matmul, "TRANSFORMED", lambda: True)
        assert not matmul.unobserved()


def test_adam_without_the_fused_function_follows_the_same_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for fused in (adam.FUSED_ADAM, None):
        monkeypatch.setattr(adam, "FUSED_ADAM", fused)
        parameters = list(tiny_model(ARCHS["two"]).float().parameters())
        optimizer = adam.FusedAdam(parameters, betas=(0.9, 0.999), eps=1e-8)
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        generator = torch.Generator().manual_seed(1)
        for _ in range(5):
            for parameter in parameters:
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()
        found.append(torch.cat([p.detach().flatten() for p in parameters]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-7)
