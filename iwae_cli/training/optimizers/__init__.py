"""Optimisers, one a file."""

import torch


def spare_the_compiler() -> None:
    """Let optimisers be made and saved without importing torch's compiler, which takes a second.

    torch hides these methods from its compiler by a wrapper that imports it at the first call,
    unless the function already carries the attribute below. Nothing here compiles an optimiser.
    Without that private attribute the compiler is imported.
    """
    for method in (torch.optim.Optimizer.add_param_group, torch.optim.Optimizer.state_dict):
        plain = getattr(method, "__wrapped__", None)
        if plain is not None:
            plain.__dynamo_disable = plain


spare_the_compiler()
