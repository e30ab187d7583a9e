"""`recover` trains by a recipe or by a function of the user."""

import pytest
from support.finetuning import image_classifier, train_reference
from torch import nn
from torch.testing import assert_close

import secateurs as sc
from secateurs.errors import ModelError, UsageError
from secateurs.training.history import History
from secateurs.training.recover import recover


def test_a_recipe_or_a_training_function_recovers_a_model(batches):
    model, recipe = image_classifier(), sc.Recovery(epochs=2)
    history = recover(model, recipe, batches, seed=3)
    assert isinstance(history, History)
    assert len(history.train) == 2

    def fit(trained):
        train_reference(trained, batches, recipe)
        return trained

    own, reference = image_classifier(), image_classifier()
    assert recover(own, fit) is None
    train_reference(reference, batches, recipe)
    assert_close(own.state_dict(), reference.state_dict())


@pytest.mark.parametrize(
    ("fit", "error", "message"),
    [
        (lambda model: image_classifier(), UsageError, "returned another object .Sequential."),
        (lambda model: model.append(nn.Linear(4, 2)), ModelError, "'4.bias' from missing to \\[2\\]"),
        (lambda model: model.__delitem__(3), ModelError, "'3.bias' from \\[4\\] to missing"),
        ("sgd", UsageError, "not 'sgd'"),
    ],
)
def test_a_training_function_may_change_only_values(fit, error, message):
    with pytest.raises(error, match=message):
        recover(image_classifier(), fit)
