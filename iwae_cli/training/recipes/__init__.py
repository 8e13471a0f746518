"""What the config node `optimizer` names: recipes, each an optimiser with its schedules."""

from iwae_cli.training.recipes.adam import Constant, Fast, OriginalCode, Paper
from iwae_cli.training.recipes.base import Recipe
from iwae_cli.training.recipes.kfac import Kfac

RECIPES: dict[str, type[Recipe]] = {
    "paper": Paper,
    "original_code": OriginalCode,
    "fast": Fast,
    "constant": Constant,
    "kfac": Kfac,
}
