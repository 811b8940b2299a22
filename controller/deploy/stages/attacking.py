"""Part of the second stage: what each variant is worth under attack, where a class's goals limit the loss there.

Decides: nothing; the limit is the choice's. A variant that cannot be attacked keeps the reason, and does not keep the
limit.
"""

from controller.choose.attacked import check_attack
from controller.choose.measured import Judgement
from controller.compress.robustness import ENVIRONMENT, MOST_SAMPLES, robustness
from controller.compress.variant import Variant
from controller.convert.environments import required
from controller.deploy.context import Attacked, DeployContext
from controller.deploy.settings import DeploySettings
from controller.errors import ConversionFailed, UnusableModel
from controller.models.samples import LabelledData

ATTACK = "pgd"


def check_attacks(settings: DeploySettings, samples: LabelledData) -> None:
    """Refuse limits under attack that cannot be decided here, before anything is made.

    Raises:
        ConfigurationError: The model is no classifier, or the limit is smaller than what so many samples can show.
        ConverterMissing: The environment in which attacks run is not installed.
    """
    goals = [settings.workload.goals_of(device_class.name) for device_class in settings.classes]
    for each in goals:
        check_attack(each, min(len(samples), MOST_SAMPLES), settings.model.kind == "classification")
    if any(each.attack_epsilon is not None for each in goals):
        required(ENVIRONMENT)


def attack_all(context: DeployContext) -> None:
    """Attack every variant that was evaluated, as strongly as each class's goals say; nothing where none does."""
    goals = [context.settings.workload.goals_of(each.name) for each in context.settings.classes]
    for epsilon in sorted({each.attack_epsilon for each in goals if each.attack_epsilon is not None}):
        for variant in context.made.variants:
            if variant.name in context.made.offline:
                context.made.attacked[variant.name, epsilon] = _attacked(context, variant, epsilon)


def _attacked(context: DeployContext, variant: Variant, epsilon: float) -> Attacked:
    try:
        found = robustness(variant, context.samples(), epsilon, context.cache)
    except (UnusableModel, ConversionFailed) as exc:
        context.progress.say(f"{variant.name} was not attacked: {exc}")
        return Attacked(None, str(exc))
    context.progress.say(f"{variant.name}: right in {found.accuracy(ATTACK):.1%} under attack (epsilon {epsilon:g})")
    return Attacked(Judgement({f"{ATTACK}_accuracy": found.accuracy(ATTACK)}, correct=found.correct[ATTACK]))
