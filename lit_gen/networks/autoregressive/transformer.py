"""A decoder-only transformer over the values of an example."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_gen.errors import UserError
from lit_gen.networks.autoregressive.base import OrderedNetwork
from lit_gen.protocols import Stepper
from lit_gen.ranges import check_at_least


class CausalTransformer(OrderedNetwork):
    """Each value by attention to all those before it, as a decoder-only transformer reads a text.

    Parmar et al., Image Transformer (2018), Section 3, https://arxiv.org/abs/1802.05751, with attention to everything
    before rather than to a neighbourhood; the blocks are those of Chen et al., Generative Pretraining from Pixels
    (2020), Section 2.2, https://proceedings.mlr.press/v119/chen20s.html

    A token stands for a value that is to be told. It starts as the sum of what the value before is, from -1 to 1, times
    a learned vector (of a start vector at the first), of embeddings of where in the example the value to be told lies,
    one for each axis (of an image: channel, row and column), and of the class.

    Args:
        event_shape: shape of one example, with values in [0, 1].
        params_per_output: P.
        num_layers: attention blocks.
        num_heads: heads of each.
        width: length of a token; a multiple of ``num_heads``. The hidden layer of a block is four times as wide.
        dropout: share of what tokens start as, and of what each layer adds to them, that is dropped in training.
        num_classes: number of classes that it is conditioned on; None for none.

    Raises:
        UserError: a count below 1, a width that the heads can't share evenly, or a dropout out of [0, 1).
    """

    def __init__(
        self,
        event_shape: int | tuple[int, ...],
        params_per_output: int = 1,
        num_layers: int = 8,
        num_heads: int = 4,
        width: int = 128,
        dropout: float = 0.0,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(event_shape, params_per_output, num_classes=num_classes)
        check_at_least(self, 1, num_layers=num_layers, num_heads=num_heads, width=width)
        if width % num_heads:
            raise UserError(f"a CausalTransformer's {num_heads} heads can't share a width of {width} evenly")
        if not 0.0 <= dropout < 1.0:
            raise UserError(f"a CausalTransformer's dropout must be in [0, 1), got {dropout}")
        self.value = nn.Parameter(torch.empty(width))
        self.start = nn.Parameter(torch.empty(width))
        self.places = nn.ParameterList([torch.empty(size, width) for size in self.event_shape])
        self.classes = None if num_classes is None else nn.Embedding(num_classes, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList([_Block(width, num_heads, dropout) for _ in range(num_layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, params_per_output)
        order = self.order()
        self.register_buffer("cells", order, persistent=False)
        self.register_buffer("steps", order.argsort(), persistent=False)
        self.register_buffer("indices", torch.stack(torch.unravel_index(order, self.event_shape)), persistent=False)
        self._initialize()

    def _initialize(self) -> None:
        """What all layers together add to a token has a like variance, however many there are, as in GPT-2; GPT-2's
        weights, of standard deviation 0.02, are for its width, and these are PyTorch's defaults, which go by the width.
        """
        for vectors in (self.value, self.start, *self.places, *([] if self.classes is None else [self.classes.weight])):
            nn.init.normal_(vectors, std=0.2)
        with torch.no_grad():
            for block in self.blocks:
                for layer in (block.project, block.shrink):
                    layer.weight *= (2 * len(self.blocks)) ** -0.5
        nn.init.zeros_(self.head.weight)  # every value as likely as another

    def _places(self) -> Tensor:
        """(S, width) where the values lie, in the order in which they are told."""
        return sum(table[index] for table, index in zip(self.places, self.indices, strict=True))

    def forward(self, x: Tensor, label: Tensor | None = None, order: int = 0) -> Tensor:
        """(B, *event_shape), class indices (B,) -> (B, P, *event_shape)."""
        before = 2 * x.flatten(1)[:, self.cells[:-1]] - 1  # (B, S - 1)
        start = self.start.expand(len(x), 1, -1)
        tokens = torch.cat([start, before.unsqueeze(2) * self.value], 1) + self._places()
        if self.classes is not None:
            tokens = tokens + self.classes(label).unsqueeze(1)
        tokens = self.dropout(tokens)
        for block in self.blocks:
            tokens = block(tokens)
        params = self.head(self.norm(tokens))[:, self.steps]  # (B, S, P), cells as they lie
        return params.transpose(1, 2).reshape(len(x), self.params_per_output, *self.event_shape)

    def stepper(self, num: int, label: Tensor | None = None, order: int = 0) -> Stepper:
        """Keeps the keys and values of each layer at the tokens so far."""
        return _Cache(self, num, label)


class _Block(nn.Module):
    """Attention, then two layers on each token for itself: both are added to the tokens, and see them normalized.

    Linear layers have no bias: what they would shift, the shifts of the layer norms do.
    """

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width, bias=False)
        self.shrink = nn.Linear(4 * width, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, S, width) -> (B, S, width)."""
        projected = self.query_key_value(self.attention_norm(tokens))
        query, key, value = projected.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, S, d)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        tokens = tokens + self.dropout(self.project(seen.transpose(1, 2).flatten(2)))
        return tokens + self.dropout(self.shrink(F.gelu(self.widen(self.norm(tokens)))))


class _Cache:
    """Steps through the tokens, with the keys and values so far."""

    @torch.no_grad()
    def __init__(self, network: CausalTransformer, num: int, label: Tensor | None) -> None:
        places = network._places()  # (S, width)
        # Of a value x in [0, 1], (2 x - 1) value + places = x (2 value) + (places - value).
        self.scale = 2 * network.value.unsqueeze(0)
        self.added = torch.cat([places[:1] + network.start, places[1:] - network.value]).unsqueeze(1)
        self.given = None if network.classes is None else network.classes(label)  # (N, width)
        self.layers = [_CachedBlock(block, num, len(places)) for block in network.blocks]
        self.norm, self.head = network.norm, network.head
        self.num = num
        self.done = 0

    @torch.no_grad()
    def __call__(self, previous: Tensor | None) -> Tensor:
        """The value (N, 1) before -> the parameters (N, P) of the next."""
        added = self.added[self.done]
        tokens = added.repeat(self.num, 1) if previous is None else torch.addmm(added, previous, self.scale)
        if self.given is not None:
            tokens += self.given
        for layer in self.layers:
            layer.step(tokens, self.done)
        self.done += 1
        return self.head(self.norm(tokens))


class _CachedBlock:
    """A block that takes one token after the other."""

    def __init__(self, block: _Block, num: int, num_tokens: int) -> None:
        width = block.project.weight.shape[0]
        dim = width // block.num_heads
        scale = dim**-0.5
        query, key, value = block.query_key_value.weight.chunk(3)
        weight = torch.stack([scale * query.T, key.T, value.T])
        self.query_key_value = weight
        self.project, self.widen, self.shrink = (layer.weight.T for layer in (block.project, block.widen, block.shrink))
        self.attention_norm, self.norm = block.attention_norm, block.norm
        self.kept = weight.new_empty(2, num, block.num_heads, num_tokens, dim)
        self.keys, self.values = self.kept.flatten(1, 2)  # (N * heads, S, d)
        self.by_token = self.kept.permute(3, 0, 1, 2, 4)  # (S, 2, N, heads, d)
        self.transposed_keys = self.keys.transpose(1, 2)
        self.seen_shape = (num * block.num_heads, 1, dim)

    def step(self, tokens: Tensor, at: int) -> None:
        """Add to the tokens (N, width) of step ``at``, in place, what the block does."""
        projected = torch.bmm(self.attention_norm(tokens).expand(3, -1, -1), self.query_key_value)  # (3, N, width)
        slot = self.by_token[at]
        slot.copy_(projected[1:].view(slot.shape))
        # Two products and a softmax: for a single query that is less work than the general attention's bookkeeping.
        weights = torch.bmm(projected[0].view(self.seen_shape), self.transposed_keys[:, :, : at + 1]).softmax(2)
        seen = torch.bmm(weights, self.values[:, : at + 1])  # (N * heads, 1, d)
        tokens.addmm_(seen.view(tokens.shape), self.project)
        tokens.addmm_(F.gelu(self.norm(tokens) @ self.widen), self.shrink)
