// What a block of CUDA threads does with a tile of poses: one thread a pose, in double precision whatever the dtype.
//
// The poses of neighbouring threads lie J * 3 numbers apart. Where they fit, the block therefore copies its tile
// through shared memory, reading and writing 16 bytes at neighbouring addresses; rows of odd length keep threads that
// look at the same joint on different banks.
//
// A block is given as a class with a function each(step), which runs step(thread) for every thread of the block and
// then waits for all of them, and with a state(thread). Tests run the same code on the CPU, one thread after the other.
#pragma once

#include <cstddef>
#include <cstdint>

#include "aligned_errors.h"
#include "procrustes_batch.h"

#ifdef __CUDACC__
#define ITES_FAST_TILE __device__
#else
#define ITES_FAST_TILE
#endif

namespace ites_fast {
namespace {

constexpr int kTilePoses = 64;
constexpr std::size_t kSharedBytes = 48 * 1024;  // what every device gives a block that does not ask for more
constexpr int kAlignmentSize = 13;               // rotation, scale and translation, in this order

ITES_FAST_HD constexpr int odd(int n) { return n | 1; }

// Numbers of shared memory: the rows of both poses, then those of the errors, or the alignments in the place of poses.
ITES_FAST_HD constexpr int pose_rows(int joints) { return 2 * kTilePoses * odd(3 * joints); }
template <class T>
int shared_size(const AlignedErrorsBatch<T>& batch) {
  return pose_rows(batch.joints) + kTilePoses * odd(batch.joints);
}
template <class T>
int shared_size(const ProcrustesBatch<T>& batch) {
  const int alignments = kTilePoses * kAlignmentSize;
  return pose_rows(batch.joints) > alignments ? pose_rows(batch.joints) : alignments;
}

// Larger poses, and double precision, are read where they are.
template <class T, template <class> class Batch>
bool fits_in_shared(const Batch<T>& batch) {
  return sizeof(T) == 4 && batch.joints <= 1024 && shared_size(batch) * sizeof(T) <= kSharedBytes;
}

std::int64_t tiles_of(std::int64_t poses) { return (poses + kTilePoses - 1) / kTilePoses; }

// 16 bytes that are read or written at once.
template <class T>
struct __attribute__((may_alias)) Wide {
  static constexpr int kSize = 16 / sizeof(T);
  alignas(16) T value[kSize];
};

template <class T>
ITES_FAST_TILE bool is_aligned(const T* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
}

// Copies `rows` rows of `width` numbers from global memory, where they follow each other, to rows odd(width) apart.
template <class T>
ITES_FAST_TILE void copy_in(const T* global, int rows, int width, int thread, T* shared) {
  const int size = rows * width, stride = odd(width);
  const int wide = is_aligned(global) ? size / Wide<T>::kSize : 0;
  for (int i = thread; i < wide; i += kTilePoses) {
    const Wide<T> values = reinterpret_cast<const Wide<T>*>(global)[i];
    if (stride == width) {
      reinterpret_cast<Wide<T>*>(shared)[i] = values;
      continue;
    }
    int row = i * Wide<T>::kSize / width, column = i * Wide<T>::kSize % width;
    for (int k = 0; k < Wide<T>::kSize; ++k) {
      shared[row * stride + column] = values.value[k];
      if (++column == width) column = 0, ++row;
    }
  }
  for (int i = wide * Wide<T>::kSize + thread; i < size; i += kTilePoses) {
    shared[i / width * stride + i % width] = global[i];
  }
}

// The reverse, from rows `stride` apart.
template <class T>
ITES_FAST_TILE void copy_out(const T* shared, int rows, int width, int stride, int thread, T* global) {
  const int size = rows * width;
  const int wide = stride == width && is_aligned(global) ? size / Wide<T>::kSize : 0;
  for (int i = thread; i < wide; i += kTilePoses) {
    reinterpret_cast<Wide<T>*>(global)[i] = reinterpret_cast<const Wide<T>*>(shared)[i];
  }
  for (int i = wide * Wide<T>::kSize + thread; i < size; i += kTilePoses) {
    global[i] = shared[i / width * stride + i % width];
  }
}

// A pose, read relative to one of its joints.
template <class T>
struct Joints {
  const T* pose;
  double origin[3];

  ITES_FAST_TILE Joints(const T* pose, int root) : pose(pose) {
    for (int i = 0; i < 3; ++i) origin[i] = static_cast<double>(pose[3 * root + i]);
  }

  ITES_FAST_TILE void read(int j, double joint[3]) const {
    for (int i = 0; i < 3; ++i) joint[i] = static_cast<double>(pose[3 * j + i]) - origin[i];
  }
};

template <class T>
ITES_FAST_TILE void sum_joints(const Joints<T>& source, const Joints<T>& target, int joints,
                               Moments<double>& moments) {
  for (int j = 0; j < joints; ++j) {
    double a[3], b[3];
    source.read(j, a);
    target.read(j, b);
    moments.add(a, b);
  }
}

// Distances of the joints after an alignment, written where `errors` is not null; returns their sum.
template <class T>
ITES_FAST_TILE double distances(const Joints<T>& source, const Joints<T>& target, int joints,
                                const Alignment<double>& alignment, T* errors) {
  double sum = 0.0;
  for (int j = 0; j < joints; ++j) {
    double a[3], b[3];
    source.read(j, a);
    target.read(j, b);
    const double error = alignment.distance(a, b);
    sum += error;
    if (errors != nullptr) errors[j] = static_cast<T>(error);
  }
  return sum;
}

// Where a thread finds its poses: in the shared memory of its block, or where the caller has them.
template <class T, bool kStaged, class Batch>
struct Tile {
  const Batch& batch;
  std::int64_t first;  // pose
  int poses;
  T* shared;

  ITES_FAST_TILE Tile(const Batch& batch, std::int64_t tile, T* shared)
      : batch(batch), first(tile * kTilePoses), shared(shared) {
    poses = batch.poses - first < kTilePoses ? static_cast<int>(batch.poses - first) : kTilePoses;
  }

  template <class Block>
  ITES_FAST_TILE void load(Block& block) const {
    if (!kStaged) return;
    const int width = 3 * batch.joints;
    block.each([&](int thread) {
      copy_in(batch.source + first * width, poses, width, thread, shared);
      copy_in(batch.target + first * width, poses, width, thread, shared + kTilePoses * odd(width));
    });
  }

  ITES_FAST_TILE const T* source(int thread) const { return row(batch.source, 0, thread); }
  ITES_FAST_TILE const T* target(int thread) const { return row(batch.target, 1, thread); }

 private:
  ITES_FAST_TILE const T* row(const T* poses, int which, int thread) const {
    const int width = 3 * batch.joints;
    return kStaged ? shared + (which * kTilePoses + thread) * odd(width) : poses + (first + thread) * width;
  }
};

// Block: its state is an Alignment<double>.
template <class T, bool kStaged, class Block>
ITES_FAST_TILE void align_tile(Block& block, const ProcrustesBatch<T>& batch, std::int64_t number, T* shared) {
  const Tile<T, kStaged, ProcrustesBatch<T>> tile(batch, number, shared);
  tile.load(block);
  block.each([&](int thread) {
    if (thread >= tile.poses) return;
    Alignment<double>& alignment = block.state(thread);
    const Joints<T> source(tile.source(thread), 0), target(tile.target(thread), 0);
    Moments<double> moments;
    sum_joints(source, target, batch.joints, moments);
    moments.center(batch.joints);
    align(moments, batch.with_scale, alignment);
    // Back to the poses as given: their first joints move from the origin to where they were.
    double moved[3];
    alignment.apply(source.origin, moved);
    for (int i = 0; i < 3; ++i) alignment.translation[i] += target.origin[i] - moved[i];
  });
  block.each([&](int thread) {
    if (thread >= tile.poses) return;
    const Alignment<double>& alignment = block.state(thread);
    const std::int64_t pose = tile.first + thread;
    T* const row = shared + thread * kAlignmentSize;
    T* const rotation = kStaged ? row : batch.rotation + pose * 9;
    T* const scale = kStaged ? row + 9 : batch.scale + pose;
    T* const translation = kStaged ? row + 10 : batch.translation + pose * 3;
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) rotation[3 * i + j] = static_cast<T>(alignment.rotation[i][j]);
      translation[i] = static_cast<T>(alignment.translation[i]);
    }
    *scale = static_cast<T>(alignment.scale);
  });
  if (!kStaged) return;
  block.each([&](int thread) {
    copy_out(shared, tile.poses, 9, kAlignmentSize, thread, batch.rotation + tile.first * 9);
    copy_out(shared + 9, tile.poses, 1, kAlignmentSize, thread, batch.scale + tile.first);
    copy_out(shared + 10, tile.poses, 3, kAlignmentSize, thread, batch.translation + tile.first * 3);
  });
}

// What a thread remembers of its pose.
struct AlignedErrorsState {
  Fits<double> fits;
  double sum;  // of the distances of the pose itself
};

// Block: its state is a AlignedErrorsState.
template <class T, bool kStaged, class Block>
ITES_FAST_TILE void measure_tile(Block& block, const AlignedErrorsBatch<T>& batch, std::int64_t number, T* shared) {
  const Tile<T, kStaged, AlignedErrorsBatch<T>> tile(batch, number, shared);
  const int joints = batch.joints;
  T* const rows = shared + pose_rows(joints);
  tile.load(block);
  block.each([&](int thread) {
    if (thread >= tile.poses) return;
    const Joints<T> source(tile.source(thread), batch.root), target(tile.target(thread), batch.root);
    Moments<double> moments;
    sum_joints(source, target, joints, moments);
    block.state(thread).fits.start(moments, joints, rotates(batch));
  });
  for (int candidate = first_candidate(batch); candidate < candidates(batch); ++candidate) {
    block.each([&](int thread) {
      if (thread < tile.poses) block.state(thread).fits.select(candidate != 0);
    });
    if (candidate < 0) continue;
    for (int i = 0; i < batch.fits; ++i) {
      T* const out = plane(batch, i, candidate) + tile.first * joints;
      block.each([&](int thread) {
        if (thread >= tile.poses) return;
        AlignedErrorsState& state = block.state(thread);
        const Joints<T> source(tile.source(thread), batch.root), target(tile.target(thread), batch.root);
        T* const errors = kStaged ? rows + thread * odd(joints) : out + thread * joints;
        Alignment<double> alignment;
        state.fits.get(fit_at(batch, i), alignment);
        const bool challenger = batch.flip == Flip::best && candidate == 1;
        const double sum = distances(source, target, joints, alignment, challenger ? nullptr : errors);
        if (!challenger) {
          state.sum = sum;
          return;
        }
        const bool better = sum < state.sum;
        if (better) distances(source, target, joints, alignment, errors);
        batch.flipped[tile.first + thread] = better;
      });
      if (!kStaged || (batch.flip == Flip::best && candidate == 0)) continue;
      block.each([&](int thread) { copy_out(rows, tile.poses, joints, odd(joints), thread, out); });
    }
  }
}

}  // namespace
}  // namespace ites_fast
