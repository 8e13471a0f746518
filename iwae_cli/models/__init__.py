"""The model: importance weights, layers and the networks made of them."""
