"""An estimator's constructor as options of a command: its parameters, its defaults. Knows no estimator by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Literal

import typer

from etesian.sparse.driver import Order
from etesian.sparse.estimators.linear import Method
from etesian.sparse.estimators.recommending import Feedback
from etesian.sparse.schedules.makers import Schedule


def _number_or(word: str, meaning: Any) -> Callable[[Any], Any]:
    """Return a reader of numbers that also takes a word."""

    def read(text: Any) -> Any:
        if str(text) in (word, str(meaning)):
            return meaning
        try:
            return float(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is neither a number nor {word!r}") from None

    return read


_AUTO = {"parser": _number_or("auto", "auto"), "metavar": "NUMBER|auto"}
_OR_NONE = {"parser": _number_or("none", None), "metavar": "NUMBER|none"}


@dataclass(frozen=True)
class OptionText:
    """What the command line says of a parameter.

    Parameters
    ----------
    kind
        Its type. A number that may be "auto" is float: that shows in the estimator's default.
    help
        A line.
    more
        Further arguments of `typer.Option`.
    """

    kind: Any
    help: str
    more: Mapping[str, Any] = field(default_factory=dict)


OPTIONS = {
    "method": OptionText(Method, "Step rule."),
    "feedback": OptionText(Feedback, "Whether a rating says how much is liked, or counts what was done."),
    "alpha": OptionText(float, "Weight of the penalty."),
    "l1_ratio": OptionText(float, "Share of the L1 penalty, from 0 (ridge) to 1 (lasso)."),
    "fit_intercept": OptionText(bool, "Whether to fit an intercept."),
    "class_weight": OptionText(Literal["balanced"] | None, "Weigh classes so that each counts the same."),
    "n_factors": OptionText(int, "Numbers for each user and each item."),
    "n_negatives": OptionText(int, "Items drawn for each rating, for implicit feedback."),
    "biased": OptionText(bool, "Whether to fit a mean and biases."),
    "regularization": OptionText(float, "Weight of the squared norms, per rating."),
    "n_dimensions": OptionText(int, "Numbers in a word's vector."),
    "window": OptionText(int, "Words at most this far apart make a pair."),
    "min_count": OptionText(int, "Words that occur less often are left out."),
    "max_weight": OptionText(float, "Pairs met more often weigh no more than this."),
    "step_size": OptionText(float, "Step size of the first epoch."),
    "step_decay": OptionText(float, "What the step size is multiplied by after each epoch."),
    "inverse_scaling": OptionText(float, "Epoch t divides the step size by (t + 1) to this power."),
    "average": OptionText(bool, "Return the mean over the second half of the epochs."),
    "max_iter": OptionText(int, "Epochs at most."),
    "tol": OptionText(Any, "Stop when an epoch gains less than this share of the objective.", _OR_NONE),
    "early_stopping": OptionText(bool, "Hold data out and stop by the loss on it."),
    "validation_fraction": OptionText(float, "Share of the data held out."),
    "n_iter_no_change": OptionText(int, "Epochs without enough gain after which to stop."),
    "schedule": OptionText(Schedule, "How updates are spread over cores; merged is for linear models."),
    "order": OptionText(Order, "Draw a new order of updates for every epoch, or repeat the first."),
    "n_jobs": OptionText(int | None, "Threads; -1 for all cores. The result depends on it only if lock_free."),
    "random_state": OptionText(int | None, "Seed.", {"metavar": "SEED"}),
    "ids": OptionText(
        Literal["text", "int"] | None, "Type of all ids; by default int where every id is a plain integer."
    ),
    "dtype": OptionText(Literal["float32", "float64"], "Precision of the model."),
}


def with_options_of(
    estimator: type, command: Callable[..., None], *, meanings: Mapping[str, str] = MappingProxyType({})
) -> Callable[..., None]:
    """Give a command the parameters of an estimator.

    Parameters
    ----------
    estimator
        Its constructor's parameters that stand in `OPTIONS` become options, with their defaults.
    command
        Takes them as keyword arguments, ``**options``.
    meanings
        Help for parameters that mean something else here than in `OPTIONS`.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    taken = [
        each.replace(annotation=_annotation(each, meanings.get(name)), kind=inspect.Parameter.KEYWORD_ONLY)
        for name, each in inspect.signature(estimator).parameters.items()
        if name in OPTIONS
    ]
    command.__signature__ = signature.replace(parameters=[*own, *taken])  # type: ignore[attr-defined]
    return command


def _annotation(parameter: inspect.Parameter, meaning: str | None) -> Any:
    text = OPTIONS[parameter.name]
    may_be_auto = text.kind is float and parameter.default == "auto"
    more = _AUTO if may_be_auto else text.more
    return Annotated[Any if may_be_auto else text.kind, typer.Option(help=meaning or text.help, **more)]
