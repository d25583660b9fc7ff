"""What a head reads: the numbers for each element of the event."""

from torch import Tensor

from lit_gen.errors import UserError
from lit_gen.tensor import at_least_single


def several_params(params: Tensor, num_params: int, head: str) -> Tensor:
    """``params`` (B, num_params, *event_shape), in at least single precision.

    Raises:
        UserError: its second dimension has another length; the message calls the reader ``head``.
    """
    if params.dim() < 2 or params.shape[1] != num_params:
        raise UserError(
            f"a {head} needs parameters of shape (B, {num_params}, ...), got {tuple(params.shape)}: give the network "
            f"before it params_per_output {num_params}"
        )
    return at_least_single(params)
