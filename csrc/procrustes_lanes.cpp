// The CPU kernel for one instruction set, ITES_FAST_ISA: a vector register holds the same number of as many poses as
// it has lanes. No standard container or algorithm here: their instantiations would be shared with other objects.
#include "aligned_errors.h"
#include "procrustes_cpu.h"

namespace ites_fast {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 8;
#elif defined(__AVX2__)
constexpr int kLanes = 4;
#else
constexpr int kLanes = 2;
#endif

typedef double Lanes __attribute__((vector_size(kLanes * sizeof(double))));

template <>
struct Ops<Lanes> {
  static constexpr int kLanes = ites_fast::kLanes;
  using Mask = decltype(Lanes{} > Lanes{});
  static Lanes choose(Mask mask, Lanes yes, Lanes no) { return mask ? yes : no; }
  static Lanes sqrt(Lanes x) {
    for (int i = 0; i < kLanes; ++i) x[i] = std::sqrt(x[i]);
    return x;
  }
  static bool any(Mask mask) {
    long long found = 0;
    for (int i = 0; i < kLanes; ++i) found |= mask[i];
    return found != 0;
  }
  static double get(const Lanes& x, int lane) { return x[lane]; }
  static void set(Lanes& x, int lane, double value) { x[lane] = value; }
};

// Pairs of poses, one in each lane, relative to their joints `origin`.
template <class T>
struct Pairs {
  Lanes *source, *target;  // (3 * joints)
  Lanes source_origin[3], target_origin[3];
  int count;  // lanes that hold a pose of the batch; the others repeat the last one and are not stored

  Pairs(void* scratch, int joints) : source(static_cast<Lanes*>(scratch)), target(source + 3 * joints) {}

  template <class Batch>
  void load(const Batch& batch, int origin, std::int64_t pose, std::int64_t end) {
    count = end - pose < kLanes ? static_cast<int>(end - pose) : kLanes;
    transpose(batch.source, batch.joints, origin, pose, source, source_origin);
    transpose(batch.target, batch.joints, origin, pose, target, target_origin);
  }

  void sum(int joints, Moments<Lanes>& moments) const {
    for (int j = 0; j < joints; ++j) moments.add(source + 3 * j, target + 3 * j);
  }

 private:
  void transpose(const T* poses, int joints, int origin, std::int64_t pose, Lanes* values, Lanes offset[3]) const {
    const T* lanes[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = poses + (pose + (lane < count ? lane : count - 1)) * 3 * joints;
    }
    for (int k = 0; k < 3 * joints; ++k) {
      for (int lane = 0; lane < kLanes; ++lane) values[k][lane] = lanes[lane][k];
    }
    for (int i = 0; i < 3; ++i) offset[i] = values[3 * origin + i];
    for (int j = 0; j < joints; ++j) {
      for (int i = 0; i < 3; ++i) values[3 * j + i] -= offset[i];
    }
  }
};

// Transposes back the first `poses` lanes of `size` values.
template <class T>
void store(const Lanes* values, int size, int poses, T* out) {
  for (int lane = 0; lane < poses; ++lane) {
    for (int k = 0; k < size; ++k) out[lane * size + k] = static_cast<T>(values[k][lane]);
  }
}

std::size_t scratch_bytes(int joints) { return sizeof(Lanes) * 8 * joints; }

template <class T>
void align_poses(const ProcrustesBatch<T>& batch, std::int64_t begin, std::int64_t end, void* scratch) {
  Pairs<T> pairs(scratch, batch.joints);
  for (std::int64_t pose = begin; pose < end; pose += kLanes) {
    pairs.load(batch, 0, pose, end);
    Moments<Lanes> moments;
    pairs.sum(batch.joints, moments);
    moments.center(batch.joints);
    Alignment<Lanes> alignment;
    align(moments, batch.with_scale, alignment);
    // Back to the poses as given: their first joints move from the origin to where they were.
    Lanes moved[3];
    alignment.apply(pairs.source_origin, moved);
    for (int i = 0; i < 3; ++i) alignment.translation[i] += pairs.target_origin[i] - moved[i];
    store(&alignment.rotation[0][0], 9, pairs.count, batch.rotation + pose * 9);
    store(&alignment.scale, 1, pairs.count, batch.scale + pose);
    store(alignment.translation, 3, pairs.count, batch.translation + pose * 3);
  }
}

// Distances of the joints after an alignment; returns their sums.
template <class T>
Lanes distances(const Pairs<T>& pairs, int joints, const Alignment<Lanes>& alignment, Lanes* errors) {
  Lanes sum = {};
  for (int j = 0; j < joints; ++j) {
    errors[j] = alignment.distance(pairs.source + 3 * j, pairs.target + 3 * j);
    sum += errors[j];
  }
  return sum;
}

// Keeps in `errors`, lane by lane, the candidate with the smaller sum.
void keep_better(int joints, const Lanes& sum, const Lanes& other_sum, const Lanes* other, Lanes* errors) {
  const auto better = other_sum < sum;
  for (int j = 0; j < joints; ++j) errors[j] = Ops<Lanes>::choose(better, other[j], errors[j]);
}

template <class T>
void measure_poses(const AlignedErrorsBatch<T>& batch, std::int64_t begin, std::int64_t end, void* scratch) {
  const int joints = batch.joints;
  const bool rotate = rotates(batch);
  Pairs<T> pairs(scratch, joints);
  Lanes* const errors = pairs.target + 3 * joints;
  Lanes* const mirrored_errors = errors + joints;
  for (std::int64_t pose = begin; pose < end; pose += kLanes) {
    pairs.load(batch, batch.root, pose, end);
    Moments<Lanes> moments;
    pairs.sum(joints, moments);
    Fits<Lanes> fits;
    fits.start(moments, joints, rotate);
    Lanes sum = {};
    for (int candidate = first_candidate(batch); candidate < candidates(batch); ++candidate) {
      fits.select(candidate != 0);
      if (candidate < 0) continue;
      for (int i = 0; i < batch.fits; ++i) {
        Alignment<Lanes> alignment;
        fits.get(fit_at(batch, i), alignment);
        if (batch.flip == Flip::best && candidate == 1) {
          const Lanes mirrored_sum = distances(pairs, joints, alignment, mirrored_errors);
          keep_better(joints, sum, mirrored_sum, mirrored_errors, errors);
          for (int lane = 0; lane < pairs.count; ++lane) batch.flipped[pose + lane] = mirrored_sum[lane] < sum[lane];
        } else {
          sum = distances(pairs, joints, alignment, errors);
        }
        if (batch.flip == Flip::best && candidate == 0) continue;
        store(errors, joints, pairs.count, plane(batch, i, candidate) + pose * joints);
      }
    }
  }
}

}  // namespace

#define ITES_FAST_STRING_OF(x) #x
#define ITES_FAST_STRING(x) ITES_FAST_STRING_OF(x)
#define ITES_FAST_JOIN_OF(a, b) a##b
#define ITES_FAST_JOIN(a, b) ITES_FAST_JOIN_OF(a, b)

extern const ProcrustesKernel ITES_FAST_JOIN(procrustes_, ITES_FAST_ISA);
const ProcrustesKernel ITES_FAST_JOIN(procrustes_, ITES_FAST_ISA) = {
    ITES_FAST_STRING(ITES_FAST_ISA), scratch_bytes,         align_poses<float>,
    align_poses<double>,             measure_poses<float>, measure_poses<double>};

}  // namespace ites_fast
