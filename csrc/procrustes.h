// Mathematics of one Procrustes alignment, shared by host and device.
// What is computed: ites_fast/reference/procrustes.py, which solves the same problem by an SVD.
//
// Every function is a template on Real: `double` is one pose, a vector of doubles is one pose in each lane.
// The rotation is the unit quaternion q that maximises q^T K q, K being Horn's traceless 4x4 matrix (1987). The QCP
// method (Theobald 2005) finds its largest eigenvalue by Newton steps on the characteristic polynomial and q from the
// adjugate of K - lambda I. Where that is inaccurate (collinear, mirrored, ambiguous poses) Jacobi rotations take over.
#pragma once

#include <cmath>

#ifdef __CUDACC__
#define ITES_FAST_HD __host__ __device__
#else
#define ITES_FAST_HD
#endif

namespace ites_fast {
// Internal linkage: this header is compiled for several instruction sets, and a merged symbol could put AVX-512
// instructions on the path of a processor that lacks them.
namespace {

constexpr int kNewtonSteps = 10;
constexpr double kConverged = 1e-7;   // last Newton step, relative to the eigenvalue
constexpr double kSeparated = 1e-2;   // derivative of the polynomial for |M| = 1: how far the next eigenvalue is
constexpr double kSqrt3 = 1.7320508075688773;
constexpr int kJacobiSweeps = 12;

// The few operations that a scalar and a vector write differently.
template <class Real>
struct Ops;

template <>
struct Ops<double> {
  static constexpr int kLanes = 1;
  static ITES_FAST_HD double choose(bool mask, double yes, double no) { return mask ? yes : no; }
  static ITES_FAST_HD double sqrt(double x) { return ::sqrt(x); }
  static ITES_FAST_HD bool any(bool mask) { return mask; }
  static ITES_FAST_HD double get(double x, int) { return x; }
  static ITES_FAST_HD void set(double& x, int, double value) { x = value; }
};

// Sums over joints. Joints are given relative to one joint of their pose, the origin: then a pose far away loses no
// digits, and a pose without extent has a variance of exactly zero.
template <class Real>
struct Moments {
  Real cross[3][3] = {};  // sum of source_i target_j
  Real source_sum[3] = {};
  Real target_sum[3] = {};
  Real source_square = {};
  Real source_xy_square = {};  // of x and y alone, about the origin also after center()
  Real target_square = {};

  ITES_FAST_HD void add(const Real source[3], const Real target[3]) {
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) cross[i][j] += source[i] * target[j];
      source_sum[i] += source[i];
      target_sum[i] += target[i];
      source_square += source[i] * source[i];
      target_square += target[i] * target[i];
    }
    source_xy_square += source[0] * source[0] + source[1] * source[1];
  }

  // The sums of the source's mirror image in depth.
  ITES_FAST_HD void mirror() {
    for (int j = 0; j < 3; ++j) cross[2][j] = -cross[2][j];
    source_sum[2] = -source_sum[2];
  }

  // Turns the sums about the origins into sums about the centroids, source_sum and target_sum into centroids.
  ITES_FAST_HD void center(int joints) {
    const double weight = 1.0 / joints;
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) cross[i][j] -= source_sum[i] * target_sum[j] * weight;
    }
    for (int i = 0; i < 3; ++i) {
      source_square -= source_sum[i] * source_sum[i] * weight;
      target_square -= target_sum[i] * target_sum[i] * weight;
      source_sum[i] *= weight;
      target_sum[i] *= weight;
    }
  }
};

// target ~ scale * rotation * source + translation, between poses relative to their origins.
template <class Real>
struct Alignment {
  Real rotation[3][3];
  Real scale;
  Real translation[3];

  ITES_FAST_HD void apply(const Real source[3], Real aligned[3]) const {
    for (int i = 0; i < 3; ++i) {
      aligned[i] = scale * (rotation[i][0] * source[0] + rotation[i][1] * source[1] + rotation[i][2] * source[2]);
    }
  }

  // The translation that moves the centroid of the source onto that of the target.
  ITES_FAST_HD void join_centroids(const Moments<Real>& moments) {
    apply(moments.source_sum, translation);
    for (int i = 0; i < 3; ++i) translation[i] = moments.target_sum[i] - translation[i];
  }

  // Distance of a joint from its target.
  ITES_FAST_HD Real distance(const Real source[3], const Real target[3]) const {
    Real aligned[3], square = {};
    apply(source, aligned);
    for (int i = 0; i < 3; ++i) {
      const Real difference = aligned[i] + translation[i] - target[i];
      square += difference * difference;
    }
    return Ops<Real>::sqrt(square);
  }
};

// Horn's matrix of M = sum of source target^T; quaternions are (w, x, y, z).
template <class Real>
ITES_FAST_HD void horn_matrix(const Real M[3][3], Real K[4][4]) {
  K[0][0] = M[0][0] + M[1][1] + M[2][2];
  K[1][1] = M[0][0] - M[1][1] - M[2][2];
  K[2][2] = M[1][1] - M[0][0] - M[2][2];
  K[3][3] = M[2][2] - M[0][0] - M[1][1];
  K[0][1] = K[1][0] = M[1][2] - M[2][1];
  K[0][2] = K[2][0] = M[2][0] - M[0][2];
  K[0][3] = K[3][0] = M[0][1] - M[1][0];
  K[1][2] = K[2][1] = M[0][1] + M[1][0];
  K[1][3] = K[3][1] = M[2][0] + M[0][2];
  K[2][3] = K[3][2] = M[1][2] + M[2][1];
}

template <int row, int column, class Real>
ITES_FAST_HD Real cofactor(const Real A[4][4]) {
  constexpr int r0 = row == 0, r1 = row <= 1 ? 2 : 1, r2 = row <= 2 ? 3 : 2;
  constexpr int c0 = column == 0, c1 = column <= 1 ? 2 : 1, c2 = column <= 2 ? 3 : 2;
  constexpr double sign = (row + column) % 2 == 0 ? 1.0 : -1.0;
  return sign * (A[r0][c0] * (A[r1][c1] * A[r2][c2] - A[r1][c2] * A[r2][c1]) -
                 A[r0][c1] * (A[r1][c0] * A[r2][c2] - A[r1][c2] * A[r2][c0]) +
                 A[r0][c2] * (A[r1][c0] * A[r2][c1] - A[r1][c1] * A[r2][c0]));
}

// QCP for |M| = 1. `bound` is at least the largest eigenvalue. Writes q (of any length) and returns how far it can be
// trusted: the derivative of the characteristic polynomial, zero where the Newton steps did not converge.
template <class Real>
ITES_FAST_HD Real qcp(const Real M[3][3], const Real& bound, Real q[4]) {
  using O = Ops<Real>;
  const Real zero = {};
  Real A[4][4];
  horn_matrix(M, A);
  const Real det_K = A[0][0] * cofactor<0, 0>(A) + A[0][1] * cofactor<0, 1>(A) + A[0][2] * cofactor<0, 2>(A) +
                     A[0][3] * cofactor<0, 3>(A);
  const Real det_M = M[0][0] * (M[1][1] * M[2][2] - M[1][2] * M[2][1]) -
                     M[0][1] * (M[1][0] * M[2][2] - M[1][2] * M[2][0]) +
                     M[0][2] * (M[1][0] * M[2][1] - M[1][1] * M[2][0]);

  // P(x) = x^4 - 2 x^2 - 8 det(M) x + det(K). From above, Newton steps fall to the largest root and never pass it.
  // A lane that has converged is frozen: a pose gets the same bits whatever its neighbours are.
  Real lambda = bound;
  auto active = bound > zero;
  for (int i = 0; i < kNewtonSteps && O::any(active); ++i) {
    const Real square = lambda * lambda;
    const Real value = (square - 2.0) * square - 8.0 * det_M * lambda + det_K;
    const Real slope = 4.0 * lambda * (square - 1.0) - 8.0 * det_M;
    const Real step = value / slope;
    lambda = O::choose(active, lambda - step, lambda);
    const Real size = O::choose(step > zero, step, -step);
    active = O::choose(active, size, zero) > kConverged * lambda;
  }

  for (int i = 0; i < 4; ++i) A[i][i] -= lambda;
  // The adjugate is P'(lambda) q q^T up to sign. Its longest column has the largest diagonal element.
  const Real adjugate[4][4] = {
      {cofactor<0, 0>(A), cofactor<0, 1>(A), cofactor<0, 2>(A), cofactor<0, 3>(A)},
      {cofactor<1, 0>(A), cofactor<1, 1>(A), cofactor<1, 2>(A), cofactor<1, 3>(A)},
      {cofactor<2, 0>(A), cofactor<2, 1>(A), cofactor<2, 2>(A), cofactor<2, 3>(A)},
      {cofactor<3, 0>(A), cofactor<3, 1>(A), cofactor<3, 2>(A), cofactor<3, 3>(A)},
  };
  for (int j = 0; j < 4; ++j) q[j] = adjugate[0][j];
  Real largest = adjugate[0][0] * adjugate[0][0];
  for (int i = 1; i < 4; ++i) {
    const Real candidate = adjugate[i][i] * adjugate[i][i];
    const auto better = candidate > largest;
    largest = O::choose(better, candidate, largest);
    for (int j = 0; j < 4; ++j) q[j] = O::choose(better, adjugate[i][j], q[j]);
  }

  // At a multiple root rounding can throw a step to a smaller root or to infinity. The largest root is within
  // [1 / sqrt(3), sqrt(3)]; the slope is positive at the third root too, but that one is at most 1 / sqrt(3).
  Real slope = 4.0 * lambda * (lambda * lambda - 1.0) - 8.0 * det_M;
  slope = O::choose(lambda > 0.99 / kSqrt3, slope, zero);
  slope = O::choose(lambda < 1.01 * kSqrt3, slope, zero);
  return O::choose(active, zero, slope);
}

// The eigenvector of the largest eigenvalue of Horn's matrix by cyclic Jacobi rotations: slower, right for every M.
ITES_FAST_HD inline void jacobi(const double M[3][3], double q[4]) {
  double K[4][4];
  double V[4][4] = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}};
  horn_matrix(M, K);
  for (int sweep = 0; sweep < kJacobiSweeps; ++sweep) {
    for (int p = 0; p < 3; ++p) {
      for (int r = p + 1; r < 4; ++r) {
        if (K[p][r] == 0.0) continue;
        const double theta = (K[r][r] - K[p][p]) / (2.0 * K[p][r]);
        const double t = copysign(1.0 / (fabs(theta) + sqrt(theta * theta + 1.0)), theta);
        const double c = 1.0 / sqrt(t * t + 1.0), s = t * c;
        for (int i = 0; i < 4; ++i) {
          const double x = K[i][p], y = K[i][r];
          K[i][p] = c * x - s * y;
          K[i][r] = s * x + c * y;
        }
        for (int i = 0; i < 4; ++i) {
          const double x = K[p][i], y = K[r][i];
          K[p][i] = c * x - s * y;
          K[r][i] = s * x + c * y;
        }
        for (int i = 0; i < 4; ++i) {
          const double x = V[i][p], y = V[i][r];
          V[i][p] = c * x - s * y;
          V[i][r] = s * x + c * y;
        }
      }
    }
  }
  int best = 0;
  for (int i = 1; i < 4; ++i) {
    if (K[i][i] > K[best][best]) best = i;
  }
  for (int i = 0; i < 4; ++i) q[i] = V[i][best];
}

template <class Real>
ITES_FAST_HD void quaternion_to_matrix(const Real q[4], Real R[3][3]) {
  const Real w = q[0], x = q[1], y = q[2], z = q[3];
  const Real f = 2.0 / (w * w + x * x + y * y + z * z);
  R[0][0] = 1.0 - f * (y * y + z * z);
  R[1][1] = 1.0 - f * (x * x + z * z);
  R[2][2] = 1.0 - f * (x * x + y * y);
  R[0][1] = f * (x * y - w * z);
  R[1][0] = f * (x * y + w * z);
  R[0][2] = f * (x * z + w * y);
  R[2][0] = f * (x * z - w * y);
  R[1][2] = f * (y * z - w * x);
  R[2][1] = f * (y * z + w * x);
}

// The alignment from centred moments. A pose holding a NaN, or numbers whose fourth powers overflow, gets NaN.
template <class Real>
ITES_FAST_HD void align(const Moments<Real>& moments, bool with_scale, Alignment<Real>& result) {
  using O = Ops<Real>;
  const Real zero = {};
  Real square = zero;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) square += moments.cross[i][j] * moments.cross[i][j];
  }
  const Real norm = O::sqrt(square);
  // 0 * norm is NaN where the norm overflowed.
  const Real inverse = O::choose(norm == zero, zero, 1.0 / norm) + 0.0 * norm;
  Real M[3][3];
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) M[i][j] = moments.cross[i][j] * inverse;
  }

  // The largest eigenvalue is at most sqrt(3) |M|, and by Cauchy-Schwarz at most the product of the poses' norms.
  const Real cauchy = O::sqrt(moments.source_square) * O::sqrt(moments.target_square) * inverse;
  const Real bound = O::choose(cauchy < kSqrt3, cauchy, zero + kSqrt3 * (norm * inverse));
  Real q[4];
  const Real trust = qcp(M, bound, q);
  for (int lane = 0; lane < O::kLanes; ++lane) {
    if (O::get(trust, lane) > kSeparated) continue;
    double M_lane[3][3], q_lane[4];
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) M_lane[i][j] = O::get(M[i][j], lane);
    }
    jacobi(M_lane, q_lane);
    for (int i = 0; i < 4; ++i) O::set(q[i], lane, q_lane[i]);
  }

  quaternion_to_matrix(q, result.rotation);
  Real trace = zero;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) trace += result.rotation[i][j] * moments.cross[j][i];
  }
  // A source without extent fits equally well at every scale; it keeps its own. 0 * trace carries a NaN.
  const Real one = zero + 1.0;
  const Real fitted = O::choose(moments.source_square == zero, one, trace / moments.source_square);
  result.scale = (with_scale ? fitted : one) + 0.0 * trace;
  result.join_centroids(moments);
}

}  // namespace
}  // namespace ites_fast
