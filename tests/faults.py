"""Deliberate faults: a sign, a factor, an axis, a mask. Each has to make its test fail (``python -m tests.mutate``)."""

from typing import NamedTuple


class Fault(NamedTuple):
    """A fault.

    Args:
        what: is wrong.
        file: that it is in.
        old: text that occurs once in the file.
        new: text that takes its place.
        test: what pytest is to run, and fail.
    """

    what: str
    file: str
    old: str
    new: str
    test: str


FAULTS = (
    Fault(
        "Horn's matrix with a sign flipped",
        "csrc/procrustes.h",
        "K[0][1] = K[1][0] = M[1][2] - M[2][1];",
        "K[0][1] = K[1][0] = M[2][1] - M[1][2];",
        "tests/test_procrustes.py",
    ),
    Fault(
        "Jacobi rotations stopped after one sweep",
        "csrc/procrustes.h",
        "for (int sweep = 0; sweep < kJacobiSweeps; ++sweep) {",
        "for (int sweep = 0; sweep < 1; ++sweep) {",
        "tests/test_procrustes.py",
    ),
    Fault(
        "the sign of a reflection is lost in the reference",
        "ites_fast/reference/procrustes.py",
        "sign[:, 2] = torch.linalg.det(u @ vh).sign()",
        "sign[:, 2] = torch.linalg.det(u @ vh).abs()",
        "tests/test_procrustes.py",
    ),
    Fault(
        "a clamped joint gets a gradient of its depth",
        "ites_fast/ops/rotate_project.py",
        "grad_z.mul_(distance >= reference.MIN_DEPTH).neg_()",
        "grad_z.neg_()",
        "tests/test_rotate_project.py",
    ),
    Fault(
        "a distance of zero gets the gradient 0 / 0",
        "ites_fast/ops/cycle_loss.py",
        "unit = (error / norm).masked_fill_(norm == 0, 0)",
        "unit = error / norm",
        "tests/test_cycle_loss.py",
    ),
    Fault(
        "the gradient of a mean distance is half as large",
        "ites_fast/ops/cycle_loss.py",
        "return (unit * (grad_loss / max(norm.numel(), 1))).contiguous()",
        "return (unit * (grad_loss / max(2 * norm.numel(), 1))).contiguous()",
        "tests/test_cycle_loss.py",
    ),
    Fault(
        "the gradient of a softmax along the other axis",
        "ites_fast/ops/edge_softmax.py",
        "grad_logits = weighted - mixing * weighted.sum(dim=-1, keepdim=True)",
        "grad_logits = weighted - mixing * weighted.sum(dim=-2, keepdim=True)",
        "tests/test_edge_softmax.py",
    ),
    Fault(
        "edge weights normalised over the joints that are reached",
        "ites_fast/reference/edge_softmax.py",
        "return logits.softmax(dim=-1)",
        "return logits.softmax(dim=-2)",
        "tests/test_edge_softmax.py",
    ),
    Fault(
        "entries off the skeleton count",
        "ites_fast/reference/channel_mix.py",
        'torch.einsum("dij,bjd->bid", mixing * adjacency, features)',
        'torch.einsum("dij,bjd->bid", mixing, features)',
        "tests/test_channel_mix.py",
    ),
    Fault(
        "the batch norm's gradient without its second term",
        "ites_fast/ops/norm_relu.py",
        "return grad_features.addcmul_(centred, -factor * rstd * grad_scale / rows), grad_scale, grad_shift",
        "return grad_features, grad_scale, grad_shift",
        "tests/test_norm_relu.py",
    ),
    Fault(
        "an affinity that is not divided by the number of pairs",
        "ites_fast/ops/agcn_official.py",
        "affinity, 0) / max(K, 1)",
        "affinity, 0)",
        "tests/test_agcn.py",
    ),
    Fault(
        "the gradient of a mixing matrix without its diagonal",
        "ites_fast/ops/agcn_official.py",
        "grad_mixing.diagonal().copy_((grad_mixed * own).sum(dim=2).sum(dim=0))",
        "grad_mixing.diagonal().zero_()",
        "tests/test_agcn.py",
    ),
    Fault(
        "a Rodrigues factor of the wrong series",
        "ites_fast/reference/rotation.py",
        "b_series = 0.5 - x / 24 * (1 - x / 30",
        "b_series = 0.5 - x / 20 * (1 - x / 30",
        "tests/test_rotation.py",
    ),
    Fault(
        "a flipped candidate that is worse is taken",
        "ites_fast/metrics.py",
        "torch.where((flipped.mean(1) < errors.mean(1))[:, None], flipped, errors)",
        "torch.where((flipped.mean(1) > errors.mean(1))[:, None], flipped, errors)",
        "tests/test_metrics.py",
    ),
    Fault(
        "a virtual view of the inverse size",
        "ites_fast/reference/virtual_view.py",
        "return (rms / mean_square.clamp(min=SMALLEST_RMS**2).sqrt())[..., None, None]",
        "return (mean_square.clamp(min=SMALLEST_RMS**2).sqrt() / rms)[..., None, None]",
        "tests/test_views.py",
    ),
    Fault(
        "an elevation put in with the wrong sign",
        "ites_fast/views.py",
        "level = tilt(torch.full(shape, -math.radians(elevation), device=device))",
        "level = tilt(torch.full(shape, math.radians(elevation), device=device))",
        "tests/test_views.py",
    ),
    Fault(
        "a clamped joint gets a gradient of its depth, in the kernels",
        "kernels/pose_tile.py",
        "tl.where(clamped, 0.0, -(grad_x * u + grad_y * v))",
        "-(grad_x * u + grad_y * v)",
        "tests/test_rotate_project.py::test_kernels_match_reference",
    ),
    Fault(
        "a gradient turned on instead of back",
        "kernels/pose_tile.py",
        "return turn((a, d, g, b, e, h, c, f, i), joints)",
        "return turn(rotation, joints)",
        "tests/test_rotate_project.py::test_kernels_match_reference",
    ),
    Fault(
        "one component of the target's gradient with the wrong sign",
        "kernels/cycle_loss.py",
        "store_joint(grad_target_ptr, target, mask, (sum_x, sum_y, sum_z), D)",
        "store_joint(grad_target_ptr, target, mask, (sum_x, sum_y, -sum_z), D)",
        "tests/test_cycle_loss.py::test_cycle_kernels_match_reference",
    ),
    Fault(
        "a softmax's gradient along the other axis, in the kernel",
        "kernels/edge_softmax.py",
        "weighted - mixing * tl.sum(weighted, 1)[:, None]",
        "weighted - mixing * tl.sum(weighted, 0)[None, :]",
        "tests/test_edge_softmax.py::test_kernels_match_reference",
    ),
    Fault(
        "mixing that is never transposed",
        "kernels/channel_mix.py",
        "edge = s * J + j if TRANSPOSED else j * J + s",
        "edge = j * J + s",
        "tests/test_channel_mix.py::test_kernels_match_reference",
    ),
    Fault(
        "no mask where the ReLU was zero",
        "kernels/norm_relu.py",
        "return tl.where(normalised <= 0, 0.0, grad), centred",
        "return grad, centred",
        "tests/test_norm_relu.py::test_kernels_match_reference",
    ),
    Fault(
        "the second of two equal joints gets the gradient",
        "kernels/agcn_official_backward.py",
        "odd.to(tl.float32) - even.to(tl.float32) <= 0, 0.0, grad)",
        "odd.to(tl.float32) - even.to(tl.float32) < 0, 0.0, grad)",
        "tests/test_agcn_kernels.py::test_maximum_of_equal_joints_goes_to_the_first",
    ),
    Fault(
        "a joint is a neighbour of itself",
        "kernels/student_infer.py",
        "mixed = dot(tl.where(diagonal, 0.0, mixing), neighbours, mixed, PRECISION)",
        "mixed = dot(mixing, neighbours, mixed, PRECISION)",
        "tests/test_student_infer_kernel.py::test_kernel_matches_reference",
    ),
    Fault(
        "a residual block without its input",
        "kernels/mlp_infer.py",
        "                x += block_input\n",
        "",
        "tests/test_mlp_infer_kernel.py::test_kernel_matches_reference",
    ),
    Fault(
        "the best sign of depth is the worse one",
        "csrc/procrustes_tile.h",
        "const bool better = sum < state.sum;",
        "const bool better = sum > state.sum;",
        "tests/test_procrustes.py",
    ),
    Fault(
        "poses of a tile overlap in shared memory",
        "csrc/procrustes_tile.h",
        "shared[row * stride + column] = values.value[k];",
        "shared[row * width + column] = values.value[k];",
        "tests/test_procrustes.py",
    ),
    Fault(
        "the mirror image keeps its depth products",
        "csrc/aligned_errors.h",
        "dot_z_ = -dot_z_;",
        "dot_z_ = dot_z_;",
        "tests/test_aligned_errors.py",
    ),
    Fault(
        "the fits of the reference are swapped",
        "ites_fast/reference/aligned_errors.py",
        '"rigid", "similarity", "none"',
        '"similarity", "rigid", "none"',
        "tests/test_aligned_errors.py",
    ),
    Fault(
        "the inference kernel counts an unpaired joint as a pair",
        "kernels/student_infer.py",
        "(k < J // 2)[None, :]",
        "(k < (J + 1) // 2)[None, :]",
        "tests/test_student_infer_kernel.py",
    ),
    Fault(
        "the inference kernel lets affinities be negative",
        "kernels/student_infer.py",
        "nan_maximum(t[:, None] + s[None, :], 0.0)",
        "t[:, None] + s[None, :]",
        "tests/test_student_infer_kernel.py",
    ),
    Fault(
        "the inference kernel leaves out a shift",
        "kernels/mlp_infer.py",
        "product * factor + shift",
        "product + shift",
        "tests/test_mlp_infer_kernel.py",
    ),
    Fault(
        "a depth is clamped without its camera's distance",
        "kernels/cycle_loss.py",
        "clamped = depth + camera_depth < min_depth",
        "clamped = depth < min_depth",
        "tests/test_cycle_loss.py",
    ),
    Fault(
        "only the first partial sum is added",
        "kernels/reduce.py",
        "mask=i < partials",
        "mask=i < 1",
        "tests/test_cycle_loss.py",
    ),
    Fault(
        "n_mpjpe's scale loses a factor 2 in its gradient",
        "kernels/pose_error.py",
        "(tx - 2 * scale * px)",
        "(tx - scale * px)",
        "tests/test_pose_error.py",
    ),
    Fault(
        "edges are counted anew as if nothing had changed",
        "ites_fast/ops/edge_softmax.py",
        "version == counted",
        "counted is not None",
        "tests/test_edge_softmax.py",
    ),
    Fault(
        "a draw overwrites the gradient of the one before",
        "kernels/rotate_project.py",
        "sum_z += z",
        "sum_z = z",
        "tests/test_rotate_project.py",
    ),
    Fault(
        "the scale of a virtual view pushes the wrong way",
        "kernels/virtual_view.py",
        "scale * grad_u - inwards * u",
        "scale * grad_u + inwards * u",
        "tests/test_virtual_view.py",
    ),
    Fault(
        "the cosine in the wrong quadrant",
        "kernels/philox.py",
        "tl.where(((quadrant + 1) & 2) == 2, -cos, cos)",
        "tl.where((quadrant & 2) == 2, -cos, cos)",
        "tests/test_random_rotate_project.py",
    ),
    Fault(
        "merged moments lose the distance of their means",
        "kernels/batch_statistics.py",
        "products + rows * first_offset * second_offset",
        "products",
        "tests/test_norm_relu.py",
    ),
    Fault(
        "an edge is read from the transposed skeleton",
        "kernels/channel_mix.py",
        "is_edge = tl.load(adjacency_ptr + i * J + s,",
        "is_edge = tl.load(adjacency_ptr + s * J + i,",
        "tests/test_channel_mix.py",
    ),
    Fault(
        "a softmax over joints that do not exist",
        "kernels/agcn_paper.py",
        'logits = tl.where((j < J)[None, :], logits, float("-inf"))',
        "logits = logits + 0.0",
        "tests/test_agcn_kernels.py",
    ),
    Fault(
        "the residual is left out",
        "csrc/mlp.h",
        "load(features + place) + normed",
        "normed",
        "tests/test_mlp_infer.py",
    ),
    Fault(
        "a joint is its own neighbour",
        "csrc/student.h",
        "count[i] += i != j && mixing",
        "count[i] += mixing",
        "tests/test_student_infer.py",
    ),
    Fault(
        "a window reaches into the next clip",
        "ites_fast/models/temporal.py",
        "[end - count, end - 1]",
        "[end - count, end]",
        "tests/test_temporal.py",
    ),
    Fault(
        "the condition of a density is ignored",
        "ites_fast/models/flow.py",
        "[first, context]",
        "[first, 0 * context]",
        "tests/test_flow.py",
    ),
    Fault(
        "inference drops the factor of the inner batch norm",
        "kernels/agcn_official_inference.py",
        "total += tl.load(inner_factor_ptr + c).to(tl.float32)[None, :] * aggregated",
        "total += aggregated",
        "tests/test_agcn_kernels.py",
    ),
    Fault(
        "inference of the paper's layer leaves out the inner ReLU",
        "kernels/agcn_paper_inference.py",
        "mixed = tl.maximum(physical, 0.0, tl.PropagateNan.ALL) + attention",
        "mixed = physical + attention",
        "tests/test_agcn_kernels.py",
    ),
)
