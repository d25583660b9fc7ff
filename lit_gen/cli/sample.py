"""``lit-gen sample``: draw from a checkpoint."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from lit_gen.cli import sample_output
from lit_gen.cli.options import OptionParser
from lit_gen.errors import UserError


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the verb's options."""
    parser = OptionParser(prog="lit-gen sample", description="Draw from a trained model, or walk among its latents.")
    parser.add_argument(
        *("--ckpt", "--ckpt_path"),  # the other verbs' name
        dest="ckpt",
        type=Path,
        required=True,
        metavar="RUN_OR_CKPT",
        help="a run folder or a checkpoint",
    )
    parser.add_argument("--num", type=int, help="how many samples (default 64), or walks of --interpolate (default 8)")
    parser.add_argument(
        "--out",
        default="samples.png",
        help="a picture grid.png to look at; a folder/ of PNGs, one a sample, with its own pixels; or samples.npz",
    )
    parser.add_argument(
        "--scale",
        type=int,
        help="pixels on a side of each sample's pixel (default 1 in a folder/, what can be seen in a grid)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the numbered samples that a folder/ holds; other files stay"
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same samples (default 0)")
    parser.add_argument("--batch_size", type=int, default=500, help="samples drawn at a time (default 500)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default auto)")
    parser.add_argument("--label", type=int, help="the class to draw, of a model conditioned on classes")
    parser.add_argument("--given", type=Path, metavar="IMAGE", help="a picture whose first rows are kept (see --rows)")
    parser.add_argument("--rows", type=int, help="how many rows of --given are kept (default: the upper half)")
    parser.add_argument(
        "--naive", action="store_true", help="draw pixel by pixel with the whole network: the slow reference"
    )
    _add_walks(parser)
    options = parser.parse_args(list(arguments))
    _check_walks(options)
    if options.num is None:
        options.num = 64 if options.interpolate is None else 8
    if options.num < 1 or options.batch_size < 1:
        raise UserError(f"--num and --batch_size must be at least 1, not {min(options.num, options.batch_size)}")
    if options.rows is not None and options.given is None:
        raise UserError("--rows are rows of an image: name it with --given")
    options.out = sample_output.output_of(options.out, options.scale, options.overwrite)
    return options


def _add_walks(parser: OptionParser) -> None:
    parser.add_argument(
        "--interpolate",
        choices=["lerp", "slerp"],
        help="draw --num walks instead, a row each, between two latents from the prior: those of samples 2i and 2i+1 "
        "of twice --num. Straight (lerp) or on an arc about the origin (slerp); the lengths of their ways in example "
        "space are told",
    )
    parser.add_argument("--steps", type=int, help="samples on each walk, the two ends among them (default 8)")
    parser.add_argument(
        "--arithmetic",
        metavar="SUM",
        help='such as "0,1,2 - 3,4,5 + 6,7,8": the signed sum of averaged latents. Numbers are those of the samples, '
        "from 0, that the same --num, --seed and --batch_size draw: look at them first, row by row. The picture has a "
        "row for each term, its samples and at the right end what their average gives, and below the sum in the "
        "middle of eight variations, each coordinate moved by up to 0.25. An .npz holds the sum first",
    )


def _check_walks(options: argparse.Namespace) -> None:
    """Check the walks' options; ``steps`` gets its default.

    Raises:
        UserError: some that don't go together, or fewer than two steps.
    """
    walks = [name for name in ("interpolate", "arithmetic") if getattr(options, name) is not None]
    if len(walks) > 1:
        raise UserError("--interpolate and --arithmetic are two pictures: ask for one of them")
    if options.steps is not None and options.interpolate is None:
        raise UserError("--steps are those of a walk: ask for one with --interpolate")
    options.steps = 8 if options.steps is None else options.steps
    if options.steps < 2:
        raise UserError(f"--steps must be at least 2, the two ends, not {options.steps}")
    others = {"--label": options.label, "--given": options.given, "--naive": options.naive or None}
    for name in [name for name, value in others.items() if value is not None and walks]:
        raise UserError(f"--{walks[0]} is of models that sample from latents alone: {name} doesn't go with it")


def load_model(checkpoint: Path):
    """The model of a checkpoint, with its weights, in evaluation mode on the CPU.

    Raises:
        UserError: if the checkpoint is not one of lit-gen's, or cannot be rebuilt.
    """
    from lightning.pytorch import LightningModule

    from lit_gen.cli import checkpoints, parser, precision, start_up
    from lit_gen.cli.parts import Parts
    from lit_gen.tensor import default_dtype

    parser.set_up()
    content = checkpoints.load(checkpoint)
    whole = checkpoints.config_of(content)
    builder = parser.Parser(parser_mode="omegaconf+")
    builder.add_subclass_arguments(LightningModule, "model", required=True)
    config = builder.parse_object({"model": whole["model"]})
    start_up.end()  # everything is imported
    with default_dtype(precision.default_dtype_of((whole.get("trainer") or {}).get("precision"))):
        model = Parts().build(builder, config).model
    checkpoints.check_fits(content, model, checkpoint)
    model.load_state_dict(content["state_dict"])
    return model.eval()


def device_of(name: str):
    """The device asked for.

    Raises:
        UserError: if it is not there.
    """
    import torch

    if name == "auto":
        return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()  # of the device "meta" there are no values
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"there is no device '{name}' here: {str(error).splitlines()[0]}") from error
    return device


def image_at(path: Path, image_shape: tuple[int, ...], background: str = "white"):
    """The picture as (C, H, W) in [0, 1], decoded as ``ImageFolder`` does it.

    Raises:
        UserError: there is none, it has another size or more than 8 bits a channel, or is all but black.
    """
    import numpy as np
    import torch

    from lit_gen.data.decoder import Decoder
    from lit_gen.data.description import Counted
    from lit_gen.data.images import DARK

    if len(image_shape) != 3 or image_shape[0] not in (1, 3):
        raise UserError(f"--given completes grey or RGB images, but this model draws {tuple(image_shape)}")
    channels, height, width = image_shape
    decoder = Decoder(channels, background)
    image, unusual = decoder.read(path)
    if image.size != (width, height):
        raise UserError(
            f"{path} is {image.width} x {image.height} pixels, but this model's images are {width} x {height}"
        )
    pixels = np.asarray(image, np.float32) / 255
    if 0 < pixels.max() <= DARK:
        raise UserError(f"{path} holds no value above {pixels.max() * 255:g}, where 255 is white: multiply its values")
    for what in sorted(unusual):
        print(decoder.remark(what, Counted(1, [path.name]), 1))
    return torch.from_numpy(pixels).view(height, width, channels).permute(2, 0, 1)


def background_of(checkpoint: Path) -> str:
    """The colour that transparent pixels show in the data that the checkpoint's run was trained on."""
    from lit_gen.cli import checkpoints

    data = checkpoints.config_of(checkpoints.load(checkpoint)).get("data")
    arguments = data.get("init_args") if isinstance(data, dict) else None
    return (arguments or {}).get("background", "white")


def sampler_of(model, options: argparse.Namespace) -> Callable:
    """A function of a number of samples that draws them as the options say.

    Raises:
        UserError: the model can't.
    """
    import torch

    from lit_gen.protocols import DrawsCellByCell, Samples, SamplesOfClasses

    called = type(model).__name__
    if not isinstance(model, Samples):
        raise UserError(f"{called} cannot be sampled: it has no method sample")
    if (options.naive or options.given is not None) and not isinstance(model, DrawsCellByCell):
        raise UserError(f"--naive and --given are for models that draw pixel by pixel; {called} does not")
    if options.naive:
        model.naive_sampling = True
    classes = model.num_classes if isinstance(model, SamplesOfClasses) else 0
    if options.label is not None and not 0 <= options.label < classes:
        known = f"its classes are 0 to {classes - 1}" if classes else f"{called} is conditioned on none"
        raise UserError(f"--label={options.label}: there is no such class; {known}")

    def labels(num: int):
        if options.label is None:
            return torch.randint(classes, (num,), device=model.device) if classes else None
        return torch.full((num,), options.label, device=model.device)

    if options.given is not None and classes and options.label is None:
        raise UserError(f"{called} is conditioned on classes: name that of the picture with --label")
    if options.given is not None:
        x = image_at(options.given, model.event_shape, background_of(options.ckpt)).to(model.device)
        num_rows = model.event_shape[1] // 2 if options.rows is None else options.rows
        return lambda num: model.complete_rows(x.expand(num, -1, -1, -1), num_rows, 1, labels(num)).squeeze(0)
    return model.sample if options.label is None else lambda num: model.sample_classes(labels(num))


def batches(sampler: Callable, num_samples: int, seed: int, batch_size: int, device) -> Iterator:
    """(B, *event_shape) samples on the CPU, a batch at a time; how many are drawn at once is part of what the seed
    means.

    Raises:
        UserError: more at once than there is memory for.
    """
    import torch

    from lit_gen.randomness import derive_seed, seeded

    for start in range(0, num_samples, batch_size):
        count = min(batch_size, num_samples - start)
        try:
            with torch.no_grad(), seeded(derive_seed(seed, "sample", start), device):
                x = sampler(count).float().cpu()
        except (RuntimeError, MemoryError) as error:
            if not isinstance(error, MemoryError) and "memory" not in str(error):
                raise
            raise UserError(f"--batch_size={batch_size}: no memory to draw {count:,} at a time; lower it") from error
        yield x


def draw(sampler: Callable, num_samples: int, seed: int, batch_size: int, device):
    """(num_samples, *event_shape) samples on the CPU, see ``batches``."""
    import torch

    return torch.cat(list(batches(sampler, num_samples, seed, batch_size, device)))


def grid_of(samples, title: str, scale: int | None):
    """The picture of samples: a grid with the number of each row's first sample, or points of the plane."""
    from lit_gen.callbacks.captions import titled
    from lit_gen.callbacks.pictures import columns_of, picture_of

    every = columns_of(len(samples))
    rows = [f"{number:,}" for number in range(0, len(samples), every)]
    numbered = "\nnumbers on the left: of the first sample in the row" if samples.dim() == 4 else ""
    return titled(picture_of(samples, every, name="samples", rows=rows, scale=scale), title + numbered)


def origin(checkpoint: Path) -> str:
    """What to call a checkpoint: by its run, if it lies in one."""
    from lit_gen.cli import run_folder

    run = run_folder.of_checkpoint(checkpoint)
    return checkpoint.name if run is None else run_folder.called(run)


def title_of(options: argparse.Namespace, checkpoint: Path) -> str:
    """What the picture of samples shows, in words."""
    title = f"{options.num:,} samples of {origin(checkpoint)}, seed {options.seed}"
    title += "" if options.label is None else f", class {options.label}"
    rows = "the upper half" if options.rows is None else f"{options.rows} rows"
    return title if options.given is None else f"{title}; {rows} given of {options.given.name}"


def write_walk(out: sample_output.Output, drawn, title: str) -> None:
    """Write a walk or a sum: its samples into a folder, its arrays into an .npz, or its picture below a title."""
    from lit_gen.callbacks.captions import titled

    if not out.is_folder and out.path.suffix.lower() == sample_output.ARRAYS:
        sample_output.write_arrays(out, drawn.arrays)
    elif out.is_folder:
        sample_output.write_samples(out, [drawn.samples], len(drawn.samples), picture=lambda x: drawn.picture())
    else:
        sample_output.write_picture(out, titled(drawn.picture(), f"{title}\n{drawn.legend}"))


def run(verb: str, arguments: Sequence[str]) -> None:
    """Draw samples and write them."""
    options = options_of(arguments)

    from lit_gen.tensor import default_dtype

    with default_dtype():
        _run(options)


def _run(options: argparse.Namespace) -> None:
    import torch

    from lit_gen.cli import walks, whole_checkpoints

    walk = None if options.interpolate is None and options.arithmetic is None else walks.walks_of(options)
    checkpoint = options.ckpt = whole_checkpoints.find(options.ckpt)
    device = device_of(options.device)
    model = load_model(checkpoint).to(device)
    torch.set_default_dtype(model.dtype)  # that of the noise
    if walk is not None:
        drawn = walk(model)
        write_walk(options.out, drawn, f"{drawn.title} of {origin(checkpoint)}, seed {options.seed}")
        print(f"{drawn.told}; of {checkpoint}: {options.out.path}")
        return
    parts = batches(sampler_of(model, options), options.num, options.seed, options.batch_size, device)
    picture = partial(grid_of, title=title_of(options, checkpoint), scale=options.out.scale)
    sample_output.write_samples(options.out, parts, options.num, picture)
    print(f"{options.num:,} samples of {checkpoint}: {options.out.path}")
