import pytest
import torch

from lit_gen.errors import UserError
from lit_gen.networks.autoregressive.pixelcnnpp import PixelCNNpp, gated_block


def small(event_shape=(1, 8, 7), num_filters=6, num_blocks=2, num_resolutions=2, dropout=0.5, num_classes=None):
    torch.manual_seed(0)
    network = PixelCNNpp(event_shape, 2, num_filters, num_blocks, num_resolutions, dropout, num_classes)
    return network.double()


def seen_by(outputs: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """(H, W) bool: the pixels of (B, C, H, W) on which something of ``outputs`` depends."""
    (gradient,) = torch.autograd.grad(outputs.square().sum(), x, retain_graph=True)
    return (gradient != 0).any(0).any(0)


def streams_of(network: PixelCNNpp, x: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Both streams after each level's way back, the lowest first."""
    caught = []
    handles = []
    for level in network.levels:
        for blocks in (level.up_above, level.up_left):
            handles.append(blocks[-1].register_forward_hook(lambda module, args, output: caught.append(output)))
    network(x)
    for handle in handles:
        handle.remove()
    return list(zip(caught[::2], caught[1::2], strict=True))


@pytest.mark.parametrize("event_shape", [(1, 8, 7), (3, 5, 6)])
def test_the_first_stream_sees_the_rows_above_and_the_second_the_pixels_on_the_left_too(event_shape):
    network = small(event_shape).eval()
    _, height, width = event_shape
    x = torch.rand(2, *event_shape, dtype=torch.float64, requires_grad=True)
    (above, left) = streams_of(network, x)[-1]
    for y, count in [(0, 0), (1, 3), (height - 1, width - 1), (height - 1, 0)]:
        expected = torch.zeros(height, width, dtype=torch.bool)
        expected[:y] = True
        assert torch.equal(seen_by(above[:, :, y], x), expected)
        expected[y, :count] = True
        assert torch.equal(seen_by(left[:, :, y, count], x), expected)


def test_half_the_resolution_sees_what_its_first_pixel_may():
    network = small((1, 8, 8)).eval()
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    above, left = streams_of(network, x)[0]
    assert above.shape[2:] == left.shape[2:] == (4, 4)
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[:4] = True  # the square at (2, 1) begins at pixel (4, 2)
    assert torch.equal(seen_by(above[:, :, 2], x), expected)
    expected[4, :2] = True
    assert torch.equal(seen_by(left[:, :, 2, 1], x), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_sizes_that_the_strides_do_not_divide(size):
    network = small((2, size, 10 - size), num_resolutions=4).eval()
    params = network(torch.rand(2, 2, size, 10 - size, dtype=torch.float64))
    assert params.shape == (2, 2, 1, size, 10 - size)
    assert params.isfinite().all()


def test_dropout_is_for_training_only():
    network, without = small(), small(dropout=0.0)
    x = torch.rand(4, 1, 8, 7, dtype=torch.float64)
    assert not torch.equal(network(x), network(x))
    assert torch.equal(without(x), without(x))
    assert torch.equal(network.eval()(x), without(x))


def test_dropout_stands_before_the_second_convolution():
    torch.manual_seed(0)
    block = gated_block(4, (2, 2), 0, 0.5, None)
    into_second = []
    block.second.register_forward_hook(lambda module, args, output: into_second.append(args[0]))
    block(torch.randn(2, 4, 6, 6))
    assert (into_second[0] == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_short_cuts_reach_from_the_way_down_to_the_way_back():
    """With the lower resolution and each block's own convolutions silenced they alone tell of the first."""
    network = small(num_blocks=2).eval()
    heard = []
    for name in ("up_above", "up_left"):
        for block in getattr(network.levels[0], name):
            block.beside.register_forward_hook(lambda module, args, output: heard.append(args[0]))
    passed = []
    for name in ("down_above", "down_left"):
        blocks = getattr(network.levels[0], name)
        blocks[0].register_forward_pre_hook(lambda module, args: passed.append(args[0]))
        for block in blocks:
            block.register_forward_hook(lambda module, args, output: passed.append(output))
    network(torch.rand(2, 1, 8, 7, dtype=torch.float64))
    # In the order of calls: both inputs of the streams' first blocks, then the blocks by turns.
    first_above, above_1, first_left, left_1, above_2, left_2 = passed
    aboves, lefts = heard[::2], heard[1::2]
    features = lambda x: torch.cat([torch.nn.functional.elu(x), torch.nn.functional.elu(-x)], 1)  # noqa: E731
    for then, now in zip([above_2, above_1, first_above], aboves, strict=True):
        assert torch.equal(now, features(then))
    for then, now in zip([left_2, left_1, first_left], lefts, strict=True):
        assert torch.equal(now[:, 12:], features(then))


def test_the_channel_of_ones_tells_padding_from_grey():
    """Mid-grey is 0 to the network, as is what lies outside: without the ones the places would look alike."""
    network = small((1, 6, 6), num_resolutions=1).eval()
    with torch.no_grad():
        for layer in (network.first_above, network.first_left_above, network.first_left):
            layer.conv.bias.zero_()
    params = network(torch.full((1, 1, 6, 6), 0.5, dtype=torch.float64))[0, :, 0]
    assert (params[:, 2, 2] - params[:, 2, 3]).abs().min() > 1e-6


def test_weights_are_normalized():
    """Each output channel's weight has a length of its own, whatever the direction's."""
    network = small()
    x = torch.rand(2, 1, 8, 7, dtype=torch.float64)
    before = network.eval()(x)
    directions = [p for name, p in network.named_parameters() if name.endswith("weight.original1")]
    assert len(directions) == sum(name.endswith("conv.bias") for name, _ in network.named_parameters())
    with torch.no_grad():
        for direction in directions:
            direction *= 3.0
    torch.testing.assert_close(network(x), before)


def test_at_first_features_have_the_size_of_what_the_blocks_are_made_for():
    torch.manual_seed(0)
    network = PixelCNNpp((3, 8, 8), 100, 32, 2, 3).eval()
    x = torch.randint(256, (4, 3, 8, 8)) / 255
    with torch.no_grad():
        for above, left in streams_of(network, x):
            assert 0.3 < above.std() < 3
            assert 0.3 < left.std() < 3
        assert network(x).std() < 1


def test_a_stepper_computes_lower_resolutions_only_where_they_have_pixels():
    network = small((1, 8, 8), num_resolutions=3).eval()
    counts = [0, 0, 0]
    with torch.no_grad():
        stepper = network.stepper(2)
        level = stepper.resolution
        for number in range(3):
            level.tell = counted(level.tell, counts, number)
            level = level.lower
        previous = None
        for _ in range(64):
            stepper(previous)
            previous = torch.rand(2, 1, dtype=torch.float64)
    assert counts == [64, 16, 4]


def test_the_stepper_with_several_blocks_at_several_resolutions():
    network = small((3, 9, 7), num_resolutions=3, num_classes=2).eval()
    x, label = torch.rand(2, 3, 9, 7, dtype=torch.float64), torch.tensor([1, 0])
    with torch.no_grad():
        whole = network(x, label).flatten(2)
        stepper, previous = network.stepper(2, label), None
        for cell, values in enumerate(x.flatten(2).unbind(2)):
            torch.testing.assert_close(stepper(previous), whole[:, :, cell], rtol=1e-8, atol=1e-8)
            previous = values


def counted(function, counts, number):
    def call(*args):
        counts[number] += 1
        return function(*args)

    return call


def test_says_what_it_needs():
    for name in ("num_filters", "num_blocks", "num_resolutions"):
        with pytest.raises(UserError, match=f"a PixelCNNpp's {name} must be at least 1, got 0"):
            small(**{name: 0})
    with pytest.raises(UserError, match=r"dropout must be in \[0, 1\), got 1.0"):
        small(dropout=1.0)
    with pytest.raises(UserError, match="goes by pixels of images"):
        PixelCNNpp((12,), 2)
