"""A network whose layers are 1-Lipschitz."""

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from lit_gen.errors import UserError
from lit_gen.networks.wrapper import Wrapper

_LAYERS = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


class SpectralNorm(Wrapper):
    """A network whose every linear map and convolution is divided by its weight's largest singular value.

    Miyato, Kataoka, Koyama & Yoshida, Spectral Normalization for Generative Adversarial Networks (2018), Eq. 8 and
    Algorithm 1, https://arxiv.org/abs/1802.05957. A convolution's weight is seen as a matrix, output channels by the
    rest (Section 3). The value is estimated by power iteration, carried on at each forward pass in training and held in
    evaluation. Within ``Maxout`` it is the matrix of all pieces together that is divided. What the network's state dict
    calls ``weight`` is ``parametrizations.weight.original`` then.

    Args:
        network: any network; it is changed in place.
        num_iterations: of the power method at each forward pass in training.

    Raises:
        UserError: it has no such layer.
    """

    def __init__(self, network: nn.Module, num_iterations: int = 1) -> None:
        super().__init__(network)
        layers = [module for module in network.modules() if isinstance(module, _LAYERS)]
        if not layers:
            raise UserError(f"SpectralNorm finds no linear map or convolution in a {type(network).__name__}")
        if num_iterations < 1:
            raise UserError(f"SpectralNorm needs a num_iterations of at least 1, got {num_iterations}")
        for layer in layers:
            if not is_parametrized(layer, "weight"):
                spectral_norm(layer, n_power_iterations=num_iterations)
