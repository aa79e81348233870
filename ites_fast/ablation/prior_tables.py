"""Tables over the recipe "prior": how it came to be step by step, what each ingredient is worth, and labels instead.

The paper has no such tables: rows have no published figures.
"""

from collections.abc import Mapping
from typing import Any

from ites_fast.ablation.tables import Row, Table

# Long enough that what helps at the preset's budget helps here, short enough for three seeds of many rows.
SHORT = {"lifter.steps": 2000, "lifter.batch_size": 128}
SHORT_NOTE = "Every lifter is trained for 2,000 steps of 128 views instead of the preset's 12,000 of 256."


def _rows(common: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]]) -> tuple[Row, ...]:
    return tuple(Row(name, "lifter", {**common, **change}) for name, change in changes.items())


def _steps(first: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]]) -> tuple[Row, ...]:
    """Rows that each add to the row before."""
    rows, options = [], dict(first)
    for name, change in changes.items():
        options = options | change
        rows.append(Row(name, "lifter", dict(options)))
    return tuple(rows)


RECIPE = Table(
    "recipe",
    "the recipe step by step, each added to the ones above",
    "prior",
    _steps(
        {
            **{"lifter.steps": 2000, "lifter.batch_size": 128, "lifter.learning_rate": 1e-3},
            **{"lifter.rescale": False, "lifter.elevation_draw": "normal", "lifter.elevation_weight": 0.0},
            **{"lifter.bone_spread": "plain", "lifter.bone_weight": 1.0, "lifter.balance": 0.0},
            **{"flow.steps": 1200, "flow.noise": 0.01, "flow.mirror": False, "flow.balance": 0.0},
        },
        {
            "density, cycle, plain bone spread": {},
            "virtual views scaled as input, density mirrored": {"lifter.rescale": True, "flow.mirror": True},
            "elevations of other views": {"lifter.elevation_draw": "batch"},
            "elevation found again, standardised": {
                "lifter.elevation_weight": 0.2,
                "lifter.standardise_elevation": True,
            },
            "logarithm of the bone spread": {"lifter.bone_spread": "log", "lifter.bone_weight": 0.08},
            "density 2,000 steps": {"flow.steps": 2000},
            "density with less noise": {"flow.noise": 0.005},
            "views drawn by sequence": {"lifter.balance": 0.5, "flow.balance": 0.5},
            "learning rate 2e-3": {"lifter.learning_rate": 2e-3},
            "no knowledge of the elevation": {"lifter.standardise_elevation": False},
            "3,000 steps of 256": {"lifter.steps": 3000, "lifter.batch_size": 256},
        },
    ),
)

INGREDIENTS = Table(
    "ingredients",
    "one ingredient left out, changed or added",
    "prior",
    _rows(
        SHORT,
        {
            "default": {},
            "without: likelihood": {"lifter.prior_weight": 0.0},
            "without: energy outside the components": {"lifter.residual_weight": 0.0},
            "without: bone spread": {"lifter.bone_weight": 0.0},
            "without: cycle": {"lifter.cycle_weight": 0.0},
            "without: elevation found again": {"lifter.elevation_weight": 0.0},
            "without: scaled virtual views": {"lifter.rescale": False},
            "without: mirror": {"lifter.mirror": False, "flow.mirror": False},
            "without: draws by sequence": {"lifter.balance": 0.0, "flow.balance": 0.0},
            "bone spread, plain": {"lifter.bone_spread": "plain", "lifter.bone_weight": 0.2},
            "bone weight 0.04": {"lifter.bone_weight": 0.04},
            "bone weight 0.16": {"lifter.bone_weight": 0.16},
            "elevation e' drawn, 10 +- 8 degrees": {"lifter.elevation_draw": "normal"},
            "prior weights halved": {"lifter.prior_weight": 0.01, "lifter.residual_weight": 0.003},
            "elevation e' without gradient": {"lifter.elevation_draw": "detached"},
            "elevation standardised to 10 +- 8 degrees": {"lifter.standardise_elevation": True},
            "roll estimated": {"lifter.roll": True},
            "pairwise deformation 0.2 (ElePose)": {"lifter.deformation_weight": 0.2},
            "rank 12 (dictionary) 0.5": {"lifter.rank_weight": 0.5},
            "density of halves": {"flow.parts": "halves"},
            "density of the whole and of halves": {"flow.parts": "both"},
            "density of each half given the other": {"flow.parts": "conditional"},
            "density of the whole and of each half given the other": {"flow.parts": "whole_conditional"},
            "density 6,000 steps": {"flow.steps": 6000},
            "input noise 0.01": {"lifter.input_noise": 0.01},
            "input joints dropped 3 %": {"lifter.input_dropout": 0.03},
            "dropout 0.1": {"lifter.dropout": 0.1},
            "width 1024": {"lifter.width": 1024},
            "4 blocks": {"lifter.blocks": 4},
            "4 virtual views": {"lifter.draws": 4},
            "AdamW, weight decay 0.01": {"lifter.optimizer": "adamw", "lifter.weight_decay": 0.01},
            "AdamW, weight decay 0.1": {"lifter.optimizer": "adamw", "lifter.weight_decay": 0.1},
            "float32 products": {"matmul_precision": "highest"},
            "labels instead": {"lifter.supervised": True},
        },
    ),
    notes=(SHORT_NOTE,),
)

NETWORK = Table(
    "network",
    "fully connected network or graph convolution as the lifter, at equal cost",
    "prior",
    _rows(
        SHORT | {"lifter.steps": 1500},
        {
            "fully connected, width 512, 2 blocks": {},
            "graph convolution, 64 channels, 2 blocks": {"lifter.network": "agcn", "lifter.channels": 64},
        },
    ),
    notes=("1,500 steps of 128 views; about 2 million floating point operations a pose in both.",),
)

LABELS = Table(
    "labels",
    "without labels, and the same network with labels",
    "prior",
    _rows({}, {"without labels": {}, "with labels": {"lifter.supervised": True}}),
)

PRIOR_TABLES = {table.name: table for table in (RECIPE, INGREDIENTS, NETWORK, LABELS)}
