// The batches of poses that the CPU and the CUDA kernels take: N poses of J joints, contiguous.
#pragma once

#include <cstdint>

namespace ites_fast {

// Similarities that align poses with their targets.
template <class T>
struct ProcrustesBatch {
  const T* source;  // (N, J, 3)
  const T* target;  // (N, J, 3)
  std::int64_t poses;
  int joints;
  bool with_scale;
  T* rotation;     // (N, 3, 3), written
  T* scale;        // (N), written
  T* translation;  // (N, 3), written
};

// What may be done to a pose before its joints are compared with the target's. What each means:
// ites_fast/reference/aligned_errors.py, which lists them in this order.
enum class Fit { rigid, similarity, none, lstsq, procrustes, unsigned_scale, norm, xy };
constexpr int kFits = 8;

// The candidates that are compared with the target: the pose, and its mirror image in depth about the root.
enum class Flip {
  none,  // the pose alone
  best,  // the one with the smaller mean distance, of one fit only
  both
};

// Distances of joints after one or several fits.
template <class T>
struct AlignedErrorsBatch {
  const T* source;  // (N, J, 3)
  const T* target;  // (N, J, 3)
  std::int64_t poses;
  int joints;
  int root;                // joint that fits without a translation put in the origin
  std::uint32_t fit_list;  // four bits for each Fit, the first ones lowest
  int fits;                // how many, at most kFits
  Flip flip;
  T* errors;              // (fits, 2 with Flip::both else 1, N, J), written
  std::uint8_t* flipped;  // (N) with Flip::best: whether the mirror image was the better one, written
};

}  // namespace ites_fast
