"""The joint tables of data sets and detectors.

A table is text: joints in their order, each "joint" (the root) or "joint parent". Sources of the orders: OpenPose
(BODY_25, BODY_25B in its experimental models), AlphaPose (Halpe 26), COCO and COCO-WholeBody, MediaPipe's pose
landmarks, MPI-INF-3DHP's 28 joints and the 17 of its test set, VideoPose3D's order of Human3.6M.
"""

import itertools

from ites_fast.skeleton.skeleton import Skeleton

COCO = """nose, left_eye nose, right_eye nose, left_ear left_eye, right_ear right_eye,
    left_shoulder left_ear, right_shoulder right_ear, left_elbow left_shoulder, right_elbow right_shoulder,
    left_wrist left_elbow, right_wrist right_elbow, left_hip left_shoulder, right_hip right_shoulder,
    left_knee left_hip, right_knee right_hip, left_ankle left_knee, right_ankle right_knee"""
ACROSS = ("left_shoulder right_shoulder", "left_hip right_hip")

# Feet as OpenPose and COCO-WholeBody number them; Halpe 26 alternates between left and right.
FEET = """left_big_toe left_ankle, left_small_toe left_big_toe, left_heel left_ankle,
    right_big_toe right_ankle, right_small_toe right_big_toe, right_heel right_ankle"""

H36M_17 = """hip, right_hip hip, right_knee right_hip, right_ankle right_knee, left_hip hip, left_knee left_hip,
    left_ankle left_knee, spine hip, thorax spine, neck_nose thorax, head neck_nose, left_shoulder thorax,
    left_elbow left_shoulder, left_wrist left_elbow, right_shoulder thorax, right_elbow right_shoulder,
    right_wrist right_elbow"""

HALPE_26 = """nose neck, left_eye nose, right_eye nose, left_ear left_eye, right_ear right_eye,
    left_shoulder neck, right_shoulder neck, left_elbow left_shoulder, right_elbow right_shoulder,
    left_wrist left_elbow, right_wrist right_elbow, left_hip hip, right_hip hip, left_knee left_hip,
    right_knee right_hip, left_ankle left_knee, right_ankle right_knee, head neck, neck hip, hip,
    left_big_toe left_ankle, right_big_toe right_ankle, left_small_toe left_big_toe, right_small_toe right_big_toe,
    left_heel left_ankle, right_heel right_ankle"""

BODY_25 = f"""nose neck, neck mid_hip, right_shoulder neck, right_elbow right_shoulder, right_wrist right_elbow,
    left_shoulder neck, left_elbow left_shoulder, left_wrist left_elbow, mid_hip, right_hip mid_hip,
    right_knee right_hip, right_ankle right_knee, left_hip mid_hip, left_knee left_hip, left_ankle left_knee,
    right_eye nose, left_eye nose, right_ear right_eye, left_ear left_eye, {FEET}"""

BODY_25B = f"""nose upper_neck, left_eye nose, right_eye nose, left_ear left_eye, right_ear right_eye,
    left_shoulder upper_neck, right_shoulder upper_neck, left_elbow left_shoulder, right_elbow right_shoulder,
    left_wrist left_elbow, right_wrist right_elbow, left_hip left_shoulder, right_hip right_shoulder,
    left_knee left_hip, right_knee right_hip, left_ankle left_knee, right_ankle right_knee,
    upper_neck, head_top upper_neck, {FEET}"""

MPI_INF_3DHP_17 = """head_top head, neck spine, right_shoulder neck, right_elbow right_shoulder,
    right_wrist right_elbow, left_shoulder neck, left_elbow left_shoulder, left_wrist left_elbow, right_hip pelvis,
    right_knee right_hip, right_ankle right_knee, left_hip pelvis, left_knee left_hip, left_ankle left_knee,
    pelvis, spine pelvis, head neck"""

MPI_INF_3DHP_28 = """spine3 spine2, spine4 spine3, spine2 spine, spine pelvis, pelvis, neck spine4, head neck,
    head_top head, left_clavicle neck, left_shoulder left_clavicle, left_elbow left_shoulder, left_wrist left_elbow,
    left_hand left_wrist, right_clavicle neck, right_shoulder right_clavicle, right_elbow right_shoulder,
    right_wrist right_elbow, right_hand right_wrist, left_hip pelvis, left_knee left_hip, left_ankle left_knee,
    left_foot left_ankle, left_toe left_foot, right_hip pelvis, right_knee right_hip, right_ankle right_knee,
    right_foot right_ankle, right_toe right_foot"""

MEDIAPIPE_33 = """nose, left_eye_inner nose, left_eye left_eye_inner, left_eye_outer left_eye, right_eye_inner nose,
    right_eye right_eye_inner, right_eye_outer right_eye, left_ear left_eye_outer, right_ear right_eye_outer,
    left_mouth nose, right_mouth nose, left_shoulder left_ear, right_shoulder right_ear, left_elbow left_shoulder,
    right_elbow right_shoulder, left_wrist left_elbow, right_wrist right_elbow, left_pinky left_wrist,
    right_pinky right_wrist, left_index left_wrist, right_index right_wrist, left_thumb left_wrist,
    right_thumb right_wrist, left_hip left_shoulder, right_hip right_shoulder, left_knee left_hip,
    right_knee right_hip, left_ankle left_knee, right_ankle right_knee, left_heel left_ankle, right_heel right_ankle,
    left_foot_index left_ankle, right_foot_index right_ankle"""
MEDIAPIPE_LINKS = tuple(
    f"{side}_{a} {side}_{b}" for side in ("left", "right") for a, b in (("heel", "foot_index"), ("pinky", "index"))
)

# The 68 points of a face by number: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, lips 48-67. The low numbers are the
# person's right. The tree starts at the nose's tip, 30, and mirrors itself; what closes eyes and lips are links.
FACE_CHAINS = (
    (30, 29, 28, 27, 21, 20, 19, 18, 17),
    (27, 22, 23, 24, 25, 26),
    (30, 33, 32, 31),
    (33, 34, 35),
    (27, 39, 38, 37, 36),
    (39, 40, 41),
    (27, 42, 43, 44, 45),
    (42, 47, 46),
    (33, 51, 50, 49, 48, 59, 58),
    (51, 52, 53, 54, 55, 56),
    (51, 62, 61, 60),
    (62, 63, 64),
    (62, 66, 67),
    (66, 65),
    (66, 57, 8, 7, 6, 5, 4, 3, 2, 1, 0),
    (8, 9, 10, 11, 12, 13, 14, 15, 16),
)
FACE_LINKS = ((36, 41), (45, 46), (57, 58), (57, 56), (60, 67), (64, 65))
FACE_MIRROR = (
    (range(16, 8, -1), range(8)),
    ((26, 25, 24, 23, 22), (17, 18, 19, 20, 21)),
    ((35, 34), (31, 32)),
    ((45, 44, 43, 42, 47, 46), (36, 37, 38, 39, 40, 41)),
    ((54, 53, 52, 55, 56), (48, 49, 50, 59, 58)),
    ((64, 63, 65), (60, 61, 67)),
)
FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def _face() -> str:
    parents = {child: parent for chain in FACE_CHAINS for parent, child in itertools.pairwise(chain)}
    return ", ".join(f"face_{i} face_{parents[i]}" if i in parents else f"face_{i} nose" for i in range(68))


def _hand(side: str) -> str:
    fingers = []
    for finger in FINGERS:
        joints = [f"{side}_hand_root", *(f"{side}_{finger}_{i}" for i in range(1, 5))]
        fingers += [f"{child} {parent}" for parent, child in itertools.pairwise(joints)]
    return f"{side}_hand_root {side}_wrist, {', '.join(fingers)}"


COCO_WHOLEBODY_133 = ", ".join([COCO, FEET, _face(), _hand("left"), _hand("right")])
WHOLEBODY_LINKS = (*ACROSS, *(f"face_{a} face_{b}" for a, b in FACE_LINKS))
WHOLEBODY_PAIRS = {f"face_{a}": f"face_{b}" for left, right in FACE_MIRROR for a, b in zip(left, right, strict=True)}


def mirror_pairs(joint_names: tuple[str, ...]) -> dict[str, str]:
    """Joints called left_ and what they would be called on the right, whether or not it is there."""
    return {name: "right_" + name[5:] for name in joint_names if name.startswith("left_")}


def skeleton_from_table(
    name: str,
    table: str,
    *,
    head: str | None = None,
    pairs: dict[str, str] | None = None,
    pair_groups: tuple[tuple[int, ...], ...] = (),
    links: tuple[str, ...] = (),
    mapping: dict[str, str] | None = None,
) -> Skeleton:
    """A skeleton from its table; joints named left_ and right_ are pairs, ``pairs`` adds others."""
    rows = [row.split() for row in table.split(",")]
    joint_names = tuple(row[0] for row in rows)
    index = {joint: number for number, joint in enumerate(joint_names)}
    pairs = mirror_pairs(joint_names) | (pairs or {})
    left = sorted(index[joint] for joint in pairs)
    return Skeleton(
        name=name,
        joint_names=joint_names,
        parents=tuple(index[row[1]] if len(row) > 1 else -1 for row in rows),
        left=tuple(left),
        right=tuple(index[pairs[joint_names[joint]]] for joint in left),
        head=None if head is None else index[head],
        pair_groups=pair_groups,
        links=tuple((index[a], index[b]) for a, b in (link.split() for link in links)),
        mapping=tuple((word, (index[joint],)) for word, joint in (mapping or {}).items()),
    )
