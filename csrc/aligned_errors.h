// The fits of one pose and of its mirror image, shared by host and device: all of them come from the same sums.
#pragma once

#include "procrustes.h"
#include "procrustes_batch.h"

namespace ites_fast {
namespace {

template <class T>
ITES_FAST_HD Fit fit_at(const AlignedErrorsBatch<T>& batch, int i) {
  return static_cast<Fit>(batch.fit_list >> (4 * i) & 15);
}

template <class T>
ITES_FAST_HD bool has_fit(const AlignedErrorsBatch<T>& batch, Fit fit) {
  for (int i = 0; i < batch.fits; ++i) {
    if (fit_at(batch, i) == fit) return true;
  }
  return false;
}

// Whether a fit of the batch needs a rotation.
template <class T>
ITES_FAST_HD bool rotates(const AlignedErrorsBatch<T>& batch) {
  return has_fit(batch, Fit::rigid) || has_fit(batch, Fit::similarity) || has_fit(batch, Fit::procrustes) ||
         has_fit(batch, Fit::unsigned_scale);
}

// The candidates that are selected one after another: 0 is the pose, 1 its mirror image. -1 is the mirror image for
// the sake of its scale alone: the unsigned scale is the larger one of both, which the pose needs as well.
template <class T>
ITES_FAST_HD int first_candidate(const AlignedErrorsBatch<T>& batch) {
  return has_fit(batch, Fit::unsigned_scale) ? -1 : 0;
}

template <class T>
ITES_FAST_HD int candidates(const AlignedErrorsBatch<T>& batch) {
  return batch.flip == Flip::none ? 1 : 2;
}

// Where the distances (N, J) of a fit and a candidate are written.
template <class T>
ITES_FAST_HD T* plane(const AlignedErrorsBatch<T>& batch, int fit, int candidate) {
  const int at = batch.flip == Flip::both ? 2 * fit + candidate : fit;
  return batch.errors + at * batch.poses * batch.joints;
}

// Fits of one candidate at a time: the pose, or its mirror image in depth.
template <class Real>
class Fits {
 public:
  // `moments` are about the root joints. With `rotate`, rotations are searched for.
  ITES_FAST_HD void start(const Moments<Real>& moments, int joints, bool rotate) {
    moments_ = moments;
    dot_xy_ = moments.cross[0][0] + moments.cross[1][1];
    dot_z_ = moments.cross[2][2];
    source_square_ = moments.source_square;
    target_square_ = moments.target_square;
    unsigned_scale_ = Real{};
    mirrored_ = false;
    rotate_ = rotate;
    if (rotate_) moments_.center(joints);
  }

  ITES_FAST_HD void select(bool mirrored) {
    if (mirrored != mirrored_) {
      mirrored_ = mirrored;
      dot_z_ = -dot_z_;
      moments_.mirror();
    }
    if (!rotate_) return;
    align(moments_, true, similarity_);
    const Real scale = similarity_.scale;
    // 0 * scale carries a NaN.
    unsigned_scale_ = Ops<Real>::choose(scale > unsigned_scale_, scale, unsigned_scale_) + 0.0 * scale;
  }

  // What moves the pose as it was given: the mirroring is in the matrix.
  ITES_FAST_HD void get(Fit fit, Alignment<Real>& result) const {
    const Real zero = {}, one = zero + 1.0;
    if (fit == Fit::rigid || fit == Fit::similarity) {
      result = similarity_;
      if (fit == Fit::rigid) result.scale = one;
      result.join_centroids(moments_);
    } else {
      for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 3; ++j) result.rotation[i][j] = i == j ? one : zero;
        result.translation[i] = zero;
      }
      result.scale = scale(fit);
    }
    if (mirrored_) {
      for (int i = 0; i < 3; ++i) result.rotation[i][2] = -result.rotation[i][2];
    }
  }

 private:
  ITES_FAST_HD Real scale(Fit fit) const {
    using O = Ops<Real>;
    const Real zero = {};
    switch (fit) {
      case Fit::procrustes:
        return similarity_.scale;
      case Fit::unsigned_scale:
        return unsigned_scale_;
      case Fit::lstsq:
        return O::choose(source_square_ == zero, zero, (dot_xy_ + dot_z_) / source_square_);
      case Fit::norm:
        return O::choose(source_square_ == zero, zero, O::sqrt(target_square_) / O::sqrt(source_square_));
      case Fit::xy:
        return O::choose(moments_.source_xy_square == zero, zero, dot_xy_ / moments_.source_xy_square);
      default:
        return zero + 1.0;
    }
  }

  Moments<Real> moments_;  // of the candidate; about the centroids where rotations are searched for
  Real dot_xy_, dot_z_;    // sums of products of coordinates, about the roots
  Real source_square_, target_square_;
  Alignment<Real> similarity_;  // of the candidate
  Real unsigned_scale_;         // the largest of the candidates selected so far
  bool mirrored_, rotate_;
};

}  // namespace
}  // namespace ites_fast
