import torch

from lit_gen.networks.layers.random_shift import RandomShift


def test_each_image_moves_by_whole_pixels_of_its_own():
    torch.manual_seed(0)
    height, width, margin = 6, 5, 2
    x = torch.rand(400, 2, height, width) + 1
    moved = RandomShift(margin)(x)
    shifts = set()
    for before, after in zip(x, moved, strict=True):
        matches = []
        for down in range(-margin, margin + 1):
            for right in range(-margin, margin + 1):
                expected = torch.zeros_like(before)
                to_rows, to_columns = (
                    slice(max(down, 0), height + min(down, 0)),
                    slice(max(right, 0), width + min(right, 0)),
                )
                rows, columns = (
                    slice(max(-down, 0), height + min(-down, 0)),
                    slice(max(-right, 0), width + min(-right, 0)),
                )
                expected[:, to_rows, to_columns] = before[:, rows, columns]
                if torch.equal(expected, after):
                    matches.append((down, right))
        assert len(matches) == 1
        shifts.add(matches[0])
    assert len(shifts) == 25


def test_evaluation_and_no_shift_leave_images_alone():
    x = torch.rand(3, 1, 4, 4)
    assert torch.equal(RandomShift(2).eval()(x), x)
    assert torch.equal(RandomShift(0)(x), x)


def test_what_moves_in_is_the_fill():
    torch.manual_seed(0)
    moved = RandomShift(1, fill=0.5)(torch.ones(50, 1, 3, 3))
    assert set(moved.unique().tolist()) == {0.5, 1.0}
