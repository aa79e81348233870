// The CPU kernel for one instruction set, ITES_FAST_ISA: a vector register holds the same number of as many poses as
// it has lanes. No standard container or algorithm here: their instantiations would be shared with other objects.
#include "procrustes.h"
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

// Transposes poses into lanes, relative to the first joint of each pose, which is also returned.
template <class T>
void load(const T* const poses[kLanes], int joints, Lanes* values, Lanes first[3]) {
  for (int k = 0; k < 3 * joints; ++k) {
    for (int lane = 0; lane < kLanes; ++lane) values[k][lane] = poses[lane][k];
  }
  for (int i = 0; i < 3; ++i) first[i] = values[i];
  for (int j = 0; j < joints; ++j) {
    for (int i = 0; i < 3; ++i) values[3 * j + i] -= first[i];
  }
}

// Transposes back the first `poses` lanes of `size` values.
template <class T>
void store(const Lanes* values, int size, int poses, T* out) {
  for (int lane = 0; lane < poses; ++lane) {
    for (int k = 0; k < size; ++k) out[lane * size + k] = static_cast<T>(values[k][lane]);
  }
}

std::size_t scratch_bytes(int joints) { return sizeof(Lanes) * 7 * joints; }

template <class T>
void run(const ProcrustesBatch<T>& batch, std::int64_t begin, std::int64_t end, void* scratch) {
  const int joints = batch.joints;
  Lanes* const source = static_cast<Lanes*>(scratch);
  Lanes* const target = source + 3 * joints;
  Lanes* const errors = target + 3 * joints;

  for (std::int64_t pose = begin; pose < end; pose += kLanes) {
    const int count = end - pose < kLanes ? static_cast<int>(end - pose) : kLanes;
    const T *source_poses[kLanes], *target_poses[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      // Lanes beyond the end repeat the last pose and are not stored.
      const std::int64_t offset = (pose + (lane < count ? lane : count - 1)) * 3 * joints;
      source_poses[lane] = batch.source + offset;
      target_poses[lane] = batch.target + offset;
    }
    Lanes source_first[3], target_first[3];
    load(source_poses, joints, source, source_first);
    load(target_poses, joints, target, target_first);

    Moments<Lanes> moments;
    for (int j = 0; j < joints; ++j) moments.add(source + 3 * j, target + 3 * j);
    moments.center(joints);
    Alignment<Lanes> alignment;
    align(moments, batch.with_scale, alignment);

    if (batch.errors != nullptr) {
      for (int j = 0; j < joints; ++j) {
        Lanes aligned[3], square = {};
        alignment.apply(source + 3 * j, aligned);
        for (int i = 0; i < 3; ++i) {
          const Lanes difference = aligned[i] + alignment.translation[i] - target[3 * j + i];
          square += difference * difference;
        }
        errors[j] = Ops<Lanes>::sqrt(square);
      }
      store(errors, joints, count, batch.errors + pose * joints);
    } else {
      // Back to the poses as given: their first joints move from the origin to where they were.
      Lanes moved[3];
      alignment.apply(source_first, moved);
      for (int i = 0; i < 3; ++i) alignment.translation[i] += target_first[i] - moved[i];
      store(&alignment.rotation[0][0], 9, count, batch.rotation + pose * 9);
      store(&alignment.scale, 1, count, batch.scale + pose);
      store(alignment.translation, 3, count, batch.translation + pose * 3);
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
    ITES_FAST_STRING(ITES_FAST_ISA), scratch_bytes, run<float>, run<double>};

}  // namespace ites_fast
