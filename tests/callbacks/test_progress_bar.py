"""What the bar says of a run that is counted in steps."""

from types import SimpleNamespace

import pytest

from codeft.callbacks.progress_bar import RunProgressBar


@pytest.mark.parametrize(("max_epochs", "said"), [(3, "Epoch 2/3"), (-1, "Epoch 2")])
def test_epochs_and_batches(max_epochs, said):
    bar = RunProgressBar()
    bar._trainer = SimpleNamespace(
        max_epochs=max_epochs, max_steps=100, global_step=90, num_training_batches=50, sanity_checking=False
    )
    assert bar._get_train_description(1).strip() == said
    assert bar.total_train_batches == 50
