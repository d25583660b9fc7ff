import torch

from lit_gen.callbacks.coded_split import coded_split


def test_codes_are_those_of_evaluation_and_the_model_keeps_its_mode(make_trainer, labelled_data, linear_model):
    model, data = linear_model().train(), labelled_data()
    trainer = make_trainer()
    trainer.datamodule = data
    coded = coded_split(trainer, model, "test")
    assert model.training and model.dropout.training
    with torch.no_grad():
        torch.testing.assert_close(coded.code, model.eval().encode(data.x))
    assert torch.equal(coded.x, data.x)
    assert coded.label.tolist() == data.label.tolist()
    assert coded.index.tolist() == list(range(24))
    assert not coded.code.requires_grad
    assert coded_split(trainer, model, "test", keep_x=False).x is None


def test_a_fast_dev_run_reads_as_many_batches_as_it_runs(make_trainer, labelled_data, linear_model):
    trainer = make_trainer(fast_dev_run=2)
    trainer.datamodule = labelled_data()
    assert coded_split(trainer, linear_model(), "train").index.tolist() == list(range(16))
