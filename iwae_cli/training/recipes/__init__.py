"""What the config node `optimizer` names: optimisers with their schedules, one a file."""

from iwae_cli.core.by_name import ByName
from iwae_cli.training.recipes.base import Recipe

RECIPES = ByName[Recipe](__name__, __path__, shared=("adam", "base"))
