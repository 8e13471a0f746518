"""Importance samples from near the posterior: a Laplace approximation of each image's.

The proposal is r(e) = 0.8 t_5(e; mode, precision^-1) + 0.2 N(e; 0, I) in the coordinates of the
noise, where N(e; 0, I) is q(h | x) itself. Weights N(e; 0, I) w(e) / r(e) have the mean p(x),
so that the log of their mean stays a lower bound, and none is above 5 w(e).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from iwae_cli.core.errors import ConfigError, unknown
from iwae_cli.evaluation.curvature import precision_at
from iwae_cli.evaluation.noise import EvaluationNoise
from iwae_cli.evaluation.noise_space import NoiseSpace
from iwae_cli.evaluation.sampling import Images, LogWeights, log_weights, noise_chunks
from iwae_cli.models.distributions import log_standard_normal
from iwae_cli.models.iwae import IWAE
from iwae_cli.runs.eval_csv import L_K

LAPLACE, OF_Q = "laplace", "q"  # what --proposal calls them
BY_LAPLACE = f"{L_K}(proposal={LAPLACE})"  # the estimator's name in tables
SHARE = 0.8  # of the samples that are drawn near the mode
FREEDOM = 5  # degrees of the Student t
NEWTON_STEPS = 3
LENGTHS = (0.0, 0.25, 0.5, 1.0)  # of a Newton step; the best is taken


@dataclass(frozen=True)
class Laplace:
    """The proposal for some images.

    Attributes:
        space: Of the images.
        mode: Of their posteriors, in the noise, [B, H].
        root: Lower Cholesky factor of the precision there, [B, H, H].
    """

    space: NoiseSpace
    mode: Tensor
    root: Tensor

    def draw(self, normal: Tensor, chi_square: Tensor, uniform: Tensor) -> Tensor:
        """Return samples of the proposal, [k, B, H].

        Args:
            normal: Standard normal numbers, [k, B, H].
            chi_square: Of five degrees of freedom, [k, B].
            uniform: In [0, 1), [k, B]: decides where a sample is from.
        """
        scale = (FREEDOM / chi_square).sqrt().unsqueeze(-1)
        right = (normal * scale).permute(1, 2, 0)
        near = torch.linalg.solve_triangular(self.root.mT, right, upper=True).permute(2, 0, 1)
        return torch.where(uniform.unsqueeze(-1) < SHARE, self.mode + near, normal)

    def log_density(self, noise: Tensor) -> Tensor:
        """Return log r(e), nats, [k, B], at noise [k, B, H]."""
        H = noise.shape[-1]
        from_mode = (noise - self.mode).transpose(0, 1) @ self.root
        log_det = self.root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = math.lgamma((FREEDOM + H) / 2) - math.lgamma(FREEDOM / 2)
        constant -= 0.5 * H * math.log(FREEDOM * math.pi)
        distance = from_mode.square().sum(-1).T
        student = constant + log_det - 0.5 * (FREEDOM + H) * torch.log1p(distance / FREEDOM)
        near, of_q = math.log(SHARE), math.log(1 - SHARE)
        return torch.logaddexp(near + student, of_q + log_standard_normal(noise))

    def log_weights(self, noise: Tensor) -> Tensor:
        """Return log N(e; 0, I) w(e) / r(e), nats, [k, B], at noise [k, B, H]."""
        of_q = self.space.log_w(noise) + log_standard_normal(noise)
        return of_q - self.log_density(noise)

    def sampled_log_weights(
        self, noise: EvaluationNoise, *, first_image: int, k: int, rows: int
    ) -> Tensor:
        """Return the log weights of k samples of each image, float64, on the CPU, [k, B].

        Args:
            noise: Of the evaluation.
            first_image: Index of the first image in its split.
            k: Samples an image.
            rows: Samples to decode at once, over all images.
        """
        images, found = len(self.mode), []
        for blocks in noise_chunks(noise, images, first_image=first_image, k=k, rows=rows):
            normal = torch.cat([h.to(self.mode) for h in blocks.layers], dim=-1)
            extra = noise.mixture(first_image, images, blocks.start, len(normal), FREEDOM)
            chi_square, uniform = (numbers.to(self.mode) for numbers in extra)
            drawn = self.draw(normal, chi_square, uniform)
            found.append(self.log_weights(drawn).cpu().double())
        return torch.cat(found)


@torch.no_grad()
def laplace_of(model: IWAE, x: Tensor) -> Laplace:
    """Return the proposal for binary images `x` [B, D]: a few Newton steps from q's mean.

    Raises:
        ConfigError: A layer's distribution has no Fisher information.
    """
    space = NoiseSpace(model, x)
    mode = x.new_zeros(len(x), sum(model.latents))
    lengths = torch.tensor(LENGTHS).to(x).view(-1, 1, 1)
    for _ in range(NEWTON_STEPS):
        gradient = space.slope(mode.unsqueeze(0)).gradient[0]
        root = torch.linalg.cholesky(precision_at(space, mode))
        step = torch.cholesky_solve(gradient.unsqueeze(-1), root).squeeze(-1)
        tried = mode + lengths * step
        heights = space.log_w(tried) + log_standard_normal(tried)
        mode = tried[heights.argmax(0), torch.arange(len(x))]
    return Laplace(space, mode, torch.linalg.cholesky(precision_at(space, mode)))


def decoded_to_fit(latents: int) -> int:
    """Return how many samples an image fitting the proposal decodes, about."""
    return (NEWTON_STEPS + 1) * (1 + 2 * latents) + NEWTON_STEPS * (len(LENGTHS) + 2)


def laplace_log_weights(
    model: IWAE, x: Images, noise: EvaluationNoise, *, first_image: int, k: int, rows: int
) -> Tensor:
    """Return what `sampling.log_weights` does, with samples of the Laplace proposal."""
    inputs = torch.from_numpy(x).to(next(model.parameters()))
    proposal = laplace_of(model, inputs)
    return proposal.sampled_log_weights(noise, first_image=first_image, k=k, rows=rows)


def check_proposal(proposal: str, estimator: str) -> LogWeights:
    """Return what draws the samples of an estimator.

    Raises:
        ConfigError: An unknown proposal, or one for an estimator that has no use for it.
    """
    if proposal == OF_Q:
        return log_weights
    if proposal != LAPLACE:
        raise ConfigError(unknown("proposal", proposal, [OF_Q, LAPLACE]))
    if estimator != L_K:
        raise ConfigError(f"the proposal {LAPLACE} is for {L_K}, not for '{estimator}'")
    return laplace_log_weights
