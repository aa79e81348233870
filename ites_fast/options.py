"""Options of each part of the training: the input, the optimizer, and every stage."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class NormalizationOptions:
    """How 2D poses become network input."""

    view: Literal["camera", "root"] = "root"
    """keep the camera's view, or turn a virtual camera to the root joint (exact; results are turned back)"""
    scale: Literal["dataset", "pose"] = "pose"
    """one factor for the whole data set, or one root mean square for every pose"""
    camera_depth: float = 5.0
    """distance between camera and root joint, in body units (hip to head is about 1)"""


@dataclass(frozen=True)
class OptimizerOptions:
    """Optimizer and schedule of one stage."""

    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    """SGD with momentum as in the paper, Adam, or Adam with decoupled weight decay"""
    learning_rate: float = 3e-4
    """at the start, after the warm-up"""
    momentum: float = 0.9
    """of SGD"""
    weight_decay: float = 0.0
    """L2 penalty; in "adamw" the share that every weight loses in a step, in units of the learning rate"""
    schedule: Literal["cosine", "halve"] = "cosine"
    """fall to zero over the stage along a cosine, or halve every so many epochs"""
    halve_epochs: int = 15
    """epochs between two halvings of the schedule "halve"; 15 in the paper"""
    warmup_steps: int = 50
    """steps of linear warm-up"""
    steps: int | None = 2500
    """optimizer steps; "None" to count in epochs instead"""
    epochs: int = 40
    """epochs over the training views, used when steps is None"""
    batch_size: int = 128
    """poses in a batch"""
    gradient_clip: float | None = None
    """largest norm of the gradient, "None" for any"""


@dataclass(frozen=True)
class FlowOptions(OptimizerOptions):
    """Stage 0 of the recipe "prior": a density of 2D poses."""

    learning_rate: float = 1e-3
    """at the start, after the warm-up"""
    steps: int | None = 2000
    """optimizer steps; "None" to count in epochs instead"""
    batch_size: int = 256
    """poses in a batch"""
    gradient_clip: float | None = 5.0
    """largest norm of the gradient, "None" for any"""
    components: int = 26
    """principal components that the density is of"""
    couplings: int = 8
    """affine couplings"""
    width: int = 256
    """features inside a coupling"""
    noise: float = 0.005
    """standard deviation of noise on the normalised 2D poses"""
    mirror: bool = True
    """train on mirror images as well"""
    balance: float = 0.5
    """sample views with probability (views of their sequence) ** -balance; 0 for plain epochs"""
    parts: Literal["whole", "halves", "both", "conditional", "whole_conditional"] = "whole"
    """density of the whole body, of its upper and lower half apart, the mean of both, of each half given the other, or
    the mean of that and the whole"""


@dataclass(frozen=True)
class LifterOptions(OptimizerOptions):
    """Stage 1 of the recipe "prior": a lifter that learns without a teacher."""

    learning_rate: float = 2e-3
    """at the start, after the warm-up"""
    steps: int | None = 12_000
    """optimizer steps; "None" to count in epochs instead"""
    batch_size: int = 256
    """poses in a batch"""
    network: Literal["mlp", "agcn"] = "mlp"
    """fully connected residual network, or ITES's graph convolution"""
    width: int = 512
    """features of the hidden layers of "mlp"; "agcn" has --lifter.channels"""
    channels: int = 128
    """features of a joint in the network "agcn" """
    blocks: int = 2
    """residual blocks of two layers"""
    dropout: float = 0.0
    """probability that a hidden feature of "mlp" is dropped"""
    prior_weight: float = 0.02
    """weight of the negative log-likelihood of virtual views"""
    residual_weight: float = 0.006
    """weight of a virtual view's energy outside the principal components"""
    cycle_weight: float = 1.0
    """weight of the cycle: lifting a virtual view must give the turned pose"""
    elevation_weight: float = 0.2
    """weight of the elevation that must be found again in a virtual view"""
    bone_weight: float = 0.08
    """weight of the spread of bone proportions over a batch"""
    bone_spread: Literal["log", "plain"] = "log"
    """mean over bones of the logarithm of the spread, or of the spread"""
    deformation_weight: float = 0.0
    """weight of pairwise deformation: two poses must differ alike before and after the cycle (ElePose)"""
    rank_weight: float = 0.0
    """weight of the share of a batch's variance outside its strongest --lifter.rank directions"""
    rank: int = 12
    """directions that the rank loss leaves free, the size of a dictionary"""
    elevation_draw: Literal["batch", "detached", "normal"] = "batch"
    """elevation of a virtual view: another view's of the batch, the same without gradient, or a normal draw"""
    elevation_mean: float = 10.0
    """mean of the normal draw, in degrees"""
    elevation_deviation: float = 8.0
    """standard deviation of the normal draw, in degrees"""
    standardise_elevation: bool = False
    """shift and scale the elevations of a batch to that mean and deviation"""
    roll: bool = False
    """estimate the camera's roll as well"""
    rescale: bool = True
    """scale virtual views as real input is scaled"""
    mirror: bool = True
    """mirror half of the views"""
    balance: float = 0.5
    """sample views with probability (views of their sequence) ** -balance; 0 for plain epochs"""
    input_noise: float = 0.0
    """standard deviation of noise on the network's input of real views; losses see the clean view"""
    input_dropout: float = 0.0
    """probability that a joint of the network's input of real views is put at the root"""
    draws: int = 1
    """virtual views of each pose"""
    recalibrate_batches: int = 0
    """at the end, estimate the batch-norm statistics anew on this many batches of real views; 0 keeps the mixed ones"""
    supervised: bool = False
    """learn depths from the data's own 3D instead: not a product, the bound to compare with"""


@dataclass(frozen=True)
class CycleOptions:
    """The virtual views of a stage's cycle loss."""

    draws: int = 1
    """virtual views of each pose"""
    axis: Literal["all", "vertical"] = "vertical"
    """turn about any axis, or around the vertical"""
    elevation: float = 10.0
    """mean elevation of the cameras in degrees, positive when they look down; "vertical" only"""
    elevation_spread: float = 0.0
    """standard deviation of the elevation of virtual views, in degrees; "vertical" only"""
    rescale: bool = False
    """scale each virtual view as real input is scaled"""


@dataclass(frozen=True)
class TeacherOptions(OptimizerOptions):
    """Stage 1: the pose dictionary."""

    method: Literal["dictionary", "c3dpo"] = "dictionary"
    """what makes the decomposition unique: the cycle of virtual views, or C3DPO's canonicalisation network"""
    variant: Literal["paper", "official"] = "paper"
    """"official" adds a mean pose to the dictionary"""
    atoms: int = 12
    """atoms of the dictionary"""
    features: Literal["resfc", "agcn"] = "resfc"
    """the trunk: fully connected residual blocks, or graph convolutions as the student's"""
    blocks: int = 6
    """residual blocks of the trunk"""
    width: int = 1024
    """features between blocks of "resfc" """
    bottleneck: int = 256
    """features inside a block of "resfc" """
    channels: int = 128
    """features of a joint in "agcn" """
    graph_variant: Literal["paper", "official"] = "official"
    """the student's variant whose layers "agcn" has"""
    reprojection_weight: float = 20.0
    """weight of the reprojection loss"""
    invariance_weight: float = 1.0
    """weight of the rotation invariance loss, or of C3DPO's canonicalisation loss; 0 leaves it out"""
    align_epochs: int = 0
    """epochs in which the canonical pose is moved to its root before it is turned (the released code: 15)"""
    recalibrate_batches: int = 100
    """at the end, estimate the batch-norm statistics anew on this many batches of real views; 0 keeps the mixed ones"""
    cycle: CycleOptions = field(default_factory=CycleOptions)


@dataclass(frozen=True)
class StudentOptions(OptimizerOptions):
    """Stage 2: the graph convolution."""

    learning_rate: float = 1e-3
    """at the start, after the warm-up"""
    steps: int | None = 1500
    """optimizer steps; "None" to count in epochs instead"""
    network: Literal["agcn", "resfc"] = "agcn"
    """adaptive graph convolution, or a fully connected residual network as the teacher's trunk"""
    variant: Literal["paper", "official"] = "official"
    """per-channel edges and softmax affinity, or the released code's shared edges and concatenation affinity"""
    channels: int = 128
    """features of a joint in "agcn" """
    blocks: int = 4
    """residual blocks, of two layers in "agcn" """
    width: int = 1024
    """features between blocks of "resfc" """
    bottleneck: int = 256
    """features inside a block of "resfc" """
    graphs: Literal["both", "physical", "nonphysical"] = "both"
    """which graphs a layer uses"""
    edge_weights: Literal["per_channel", "shared"] | None = None
    """edges of the physical graph; None: the variant's"""
    affinity: Literal["softmax", "concat"] | None = None
    """affinity of the nonphysical graph; None: the variant's"""
    distillation_weight: float = 5.0
    """weight of the depth distillation loss; 0 leaves it out"""
    equivariance_weight: float = 1.0
    """weight of the rotation equivariance loss; 0 leaves it out"""
    recalibrate_batches: int = 100
    """as the teacher's"""
    cycle: CycleOptions = field(default_factory=CycleOptions)


@dataclass(frozen=True)
class DistillOptions(OptimizerOptions):
    """Several lifters into one that stands noise and missing joints."""

    learning_rate: float = 2e-3
    """at the start, after the warm-up"""
    steps: int | None = 9000
    """optimizer steps; "None" to count in epochs instead"""
    batch_size: int = 256
    """poses in a batch"""
    network: Literal["mlp", "agcn"] = "mlp"
    """fully connected, or graph convolutions"""
    width: int = 480
    """features of the fully connected network"""
    channels: int = 64
    """features of a joint in the graph convolutions; 64 take as many operations as a width of 480"""
    blocks: int = 2
    """residual blocks of two layers"""
    frames: int = 1
    """neighbouring frames of a clip that the fully connected network sees, to lift the middle one: 1, or a power of 3
    such as 9"""
    variant: Literal["paper", "official"] = "official"
    """of the graph convolutions, as the student's"""
    graphs: Literal["both", "physical", "nonphysical"] = "both"
    """of the graph convolutions, as the student's"""
    max_noise_px: float = 9.0
    """largest standard deviation of the joints' noise, in pixels of a 1000 px wide image (focal length 1145)"""
    clean_share: float = 0.25
    """share of views without noise"""
    max_missing: int = 8
    """most joints that a view loses"""
    whole_share: float = 0.75
    """share of views that lose none"""
    limb_share: float = 0.25
    """of the others, the share that loses the end of a limb instead of joints anywhere"""
    region_share: float = 0.2
    """of the others, the share that loses two limbs, the legs or all below the spine instead"""
    swap_share: float = 0.05
    """share of views in which a limb, or the end of one, is exchanged with that of the other side"""
    miss_share: float = 0.005
    """probability that a joint lies elsewhere, at another joint or anywhere near; four times that at wrists and
    ankles"""
    mirror: bool = True
    """mirror half of the views"""
    virtual_share: float = 0.3
    """share of a batch that sees the teachers' pose from another side instead"""
    virtual_tilt: float = 15.0
    """standard deviation of how far the virtual cameras of that share look up or down from the real one, in degrees"""
    virtual_roll: float = 8.0
    """standard deviation of their roll, in degrees"""
    balance: float = 0.5
    """draw the views of a sequence of n views with probability n ** -balance; 0: shuffled epochs over all views"""
    loss_power: float = 1.0
    """the loss is the mean over joints of this power of the distance to the teachers' pose"""
    bone_weight: float = 0.0
    """weight of the spread of bone lengths over a batch"""
    equivariance_weight: float = 0.0
    """weight of the rotation equivariance loss"""
    cycle: CycleOptions = field(default_factory=CycleOptions)
