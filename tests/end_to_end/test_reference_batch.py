"""A game with virtual batch norm in both players, from fit to test, sample and resume, by the command line."""

import json

from lit_gen.cli.main import main

NORM = "lit_gen.networks.layers.VirtualBatchNorm"


def behind_reference(name: str, **arguments) -> str:
    network = {"class_path": f"lit_gen.networks.{name}", "init_args": arguments | {"norm": NORM}}
    part = {"class_path": "lit_gen.networks.ReferenceBatch", "init_args": {"network": network, "num_reference": 16}}
    return json.dumps(part)


def test_fit_test_sample_and_resume(tmp_path, capsys):
    generator = behind_reference("MLP", in_shape=2, out_shape=2, hidden_dims=[8])
    discriminator = behind_reference("MLPDiscriminator", in_shape=2, hidden_dims=[8])
    arguments = [
        "fit",
        "--config=conf/gans/gan_ring.yaml",
        f"--model.generator={generator}",
        f"--model.discriminator={discriminator}",
        "--model.ema_decay=0.9",
        "--data.num_train=2000",
        "--trainer.max_epochs=2",
        "--trainer.check_val_every_n_epoch=1",
        "--trainer.accelerator=cpu",
        "--wandb=false",
        f"--runs={tmp_path}",
    ]
    assert main(arguments) == 0
    (run,) = tmp_path.glob("gan_ring/*")
    before = json.loads((run / "summary.json").read_text())["figures"]
    assert main(["test", f"--config={run / 'config.yaml'}", f"--ckpt_path={run}", f"--runs={tmp_path}"]) == 0
    (tested,) = [path for path in tmp_path.glob("*/*/summary.json") if path.parent != run] or [run / "summary.json"]
    after = json.loads(tested.read_text())["figures"]
    # The checkpoint's reference, not another one, was tested.
    assert after["test/real_score"] == before["test/real_score"]
    assert main(["sample", f"--ckpt={run}", "--num=8", f"--out={tmp_path / 'samples.npz'}"]) == 0
    assert main(["fit", f"--resume={run}", "--trainer.max_epochs=3"]) == 0
    assert "error" not in capsys.readouterr().err
