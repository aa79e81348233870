"""The skeletons that have a name."""

from ites_fast.skeleton import tables
from ites_fast.skeleton.rules import RULES, meanings
from ites_fast.skeleton.tables import ACROSS, skeleton_from_table

H36M_17 = skeleton_from_table(
    "h36m_17",
    tables.H36M_17,
    head="head",
    pair_groups=((2, 3), (5, 6), (1, 4), (0, 7), (8, 10), (15, 16), (12, 13), (11, 14), (9,)),
    mapping={"mid_hip": "hip", "head_top": "head"},
)
COCO_17 = skeleton_from_table("coco_17", tables.COCO, links=ACROSS)
HALPE_26 = skeleton_from_table(
    "halpe_26", tables.HALPE_26, head="head", mapping={"mid_hip": "hip", "thorax": "neck", "head_top": "head"}
)
BODY_25 = skeleton_from_table("body_25", tables.BODY_25, mapping={"thorax": "neck"})
BODY_25B = skeleton_from_table("body_25b", tables.BODY_25B, links=ACROSS, mapping={"neck_nose": "upper_neck"})
# What MPI-INF-3DHP calls head is where Human3.6M has its neck or nose: the joint between neck and top of the head.
MPI_MAPPING = {"mid_hip": "pelvis", "thorax": "neck", "neck_nose": "head"}
MPI_INF_3DHP_17 = skeleton_from_table("mpi_inf_3dhp_17", tables.MPI_INF_3DHP_17, head="head_top", mapping=MPI_MAPPING)
MPI_INF_3DHP_28 = skeleton_from_table("mpi_inf_3dhp_28", tables.MPI_INF_3DHP_28, head="head_top", mapping=MPI_MAPPING)
MEDIAPIPE_33 = skeleton_from_table(
    "mediapipe_33",
    tables.MEDIAPIPE_33,
    links=(*ACROSS, *tables.MEDIAPIPE_LINKS),
    mapping={f"{side}_{finger}_1": f"{side}_{finger}" for side in ("left", "right") for finger in ("index", "pinky")},
)
COCO_WHOLEBODY_133 = skeleton_from_table(
    "coco_wholebody_133",
    tables.COCO_WHOLEBODY_133,
    pairs=tables.WHOLEBODY_PAIRS,
    links=tables.WHOLEBODY_LINKS,
    mapping={
        "left_eye_inner": "face_42",
        "left_eye_outer": "face_45",
        "right_eye_inner": "face_39",
        "right_eye_outer": "face_36",
        "left_mouth": "face_54",
        "right_mouth": "face_48",
    },
)

SKELETONS = {
    skeleton.name: skeleton
    for skeleton in (
        H36M_17,
        COCO_17,
        HALPE_26,
        BODY_25,
        BODY_25B,
        MPI_INF_3DHP_17,
        MPI_INF_3DHP_28,
        MEDIAPIPE_33,
        COCO_WHOLEBODY_133,
    )
}


# What a mapping of YAML may speak of: all that the joints above mean, and what rules make of them.
VOCABULARY = tuple(dict.fromkeys([*RULES, *(word for known in SKELETONS.values() for word in meanings(known))]))
