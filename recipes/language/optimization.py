"""The tables of a recipe that say how weights are updated: optimizers and schedules of their rate."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .values import Below1, Count, Decay, Fraction, NotNegative, Rate, Score, Table, Whole

# ---- optimizers ---------------------------------------------------------------------------------------------------


class Optimizer(Table, frozen=True, tag_field="type"):
    """What every optimizer takes. Norms and biases are never decayed."""

    lr: Rate = 1e-3
    """The learning rate at the schedule's peak."""
    weight_decay: NotNegative = 0.0
    """Strength of the pull of weights towards zero."""
    layer_decay: Decay | None = None
    """Multiplies the rate once for each layer below the head: 0.75 makes early layers learn slowly."""
    lr_scale: dict[str, NotNegative] = {}
    """Multiplies the rate of parameters by pattern, e.g. `{"@head" = 10.0}`."""


class Sgd(Optimizer, frozen=True, tag="sgd"):
    """Stochastic gradient descent."""

    lr: Rate = 1e-2
    """The learning rate at the schedule's peak."""
    momentum: Below1 = 0.9
    """How much of the last step goes into the next."""
    nesterov: bool = False
    """Nesterov's momentum: the gradient is taken to be one step ahead."""


class Adam(Optimizer, frozen=True, tag="adam"):
    """Adam (Kingma & Ba 2014); its weight decay is added to the gradient."""

    betas: tuple[Below1, Below1] = (0.9, 0.999)
    """Decay of the running means of the gradient and of its square."""
    eps: Rate = 1e-8
    """Added to the denominator."""


class AdamW(Optimizer, frozen=True, tag="adamw"):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2017)."""

    weight_decay: NotNegative = 0.01
    """Strength of the pull of weights towards zero, beside the gradient's step."""
    betas: tuple[Below1, Below1] = (0.9, 0.999)
    """Decay of the running means of the gradient and of its square."""
    eps: Rate = 1e-8
    """Added to the denominator."""


class Lion(Optimizer, frozen=True, tag="lion"):
    """Sign of an interpolated momentum (Chen et al. 2023); wants a tenth of Adam's rate."""

    lr: Rate = 1e-4
    """The learning rate at the schedule's peak."""
    betas: tuple[Below1, Below1] = (0.9, 0.99)
    """Weights of the momentum in the step, and in the momentum itself."""


class Lamb(Optimizer, frozen=True, tag="lamb"):
    """Layer-wise trust ratios over Adam (You et al. 2019), for large batches."""

    betas: tuple[Below1, Below1] = (0.9, 0.999)
    """Decay of the running means of the gradient and of its square."""
    eps: Rate = 1e-6
    """Added to the denominator."""


class Adafactor(Optimizer, frozen=True, tag="adafactor"):
    """Factored second moments (Shazeer & Stern 2018): almost no optimizer memory."""

    lr: Rate = 1e-2
    """The learning rate at the schedule's peak."""


class Muon(Optimizer, frozen=True, tag="muon"):
    """Orthogonalised momentum (Jordan 2024) for matrices; AdamW for everything else."""

    weight_decay: NotNegative = 0.1
    """Strength of the pull of weights towards zero, beside the gradient's step."""
    momentum: Below1 = 0.95
    """How much of the last step goes into the next."""
    nesterov: bool = True
    """Nesterov's momentum: the gradient is taken to be one step ahead."""
    adamw_lr: Rate = 1e-3
    """The rate of AdamW, for what is no matrix."""


Optim = Sgd | Adam | AdamW | Lion | Lamb | Adafactor | Muon


# ---- schedules ----------------------------------------------------------------------------------------------------


class Schedule(Table, frozen=True, tag_field="type"):
    """Warm-up, which every schedule has."""

    warmup: NotNegative = 0.0
    """The rate rises from zero over this fraction of all steps if below 1, else over this number of steps."""


class Constant(Schedule, frozen=True, tag="constant"):
    """The rate as it is."""


class Cosine(Schedule, frozen=True, tag="cosine"):
    """Half a cosine."""

    end: Fraction = 0.0
    """Where it ends, as a fraction of the rate."""


class Linear(Schedule, frozen=True, tag="linear"):
    """A straight line."""

    end: Fraction = 0.0
    """Where it ends, as a fraction of the rate."""


class Step(Schedule, frozen=True, tag="step"):
    """A lower rate every few epochs."""

    every: Count = 30
    """Epochs from one fall to the next."""
    gamma: Decay = 0.1
    """What the rate is multiplied by."""


class Polynomial(Schedule, frozen=True, tag="polynomial"):
    """Falls as ``(1 - t) ** power``."""

    power: Rate = 1.0
    """The exponent; 1 is a straight line."""
    end: Fraction = 0.0
    """Where it ends, as a fraction of the rate."""


class OneCycle(Schedule, frozen=True, tag="one_cycle"):
    """Up to the rate and down again, far below where it began (Smith & Topin 2017)."""

    pct_start: Annotated[float, Meta(gt=0, lt=1)] = 0.3
    """Share of the run in which the rate rises."""
    div_factor: Annotated[float, Meta(ge=1)] = 25.0
    """It begins at the rate over this."""
    final_div_factor: Annotated[float, Meta(ge=1)] = 1e4
    """It ends at its beginning over this."""


class Plateau(Schedule, frozen=True, tag="plateau"):
    """A lower rate whenever the validation part stops improving."""

    metric: Score = "loss"
    """What is watched."""
    factor: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    """What the rate is multiplied by."""
    patience: Whole = 2
    """Evaluations without improvement that are tolerated."""


Schedules = Constant | Cosine | Linear | Step | Polynomial | OneCycle | Plateau
