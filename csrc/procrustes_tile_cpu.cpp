#include "procrustes_tile_cpu.h"

#include <limits>
#include <memory>
#include <new>
#include <stdexcept>
#include <vector>

#include "procrustes_tile.h"

namespace ites_fast {
namespace {

template <class State>
class HostBlock {
 public:
  HostBlock() : states_(kTilePoses) {}

  template <class Step>
  void each(const Step& step) {
    for (int thread = 0; thread < kTilePoses; ++thread) step(thread);
  }
  State& state(int thread) { return states_[thread]; }

 private:
  std::vector<State> states_;
};

struct AlignedDelete {
  void operator()(void* memory) const { ::operator delete(memory, std::align_val_t(16)); }
};

// Runs tile(block, number, shared) for every tile of the batch.
template <class T, class State, class Batch, class RunTile>
void each_tile(const Batch& batch, bool staged, const RunTile& run_tile) {
  if (staged && !fits_in_shared(batch)) {
    throw std::invalid_argument("a tile of this dtype and number of joints does not fit in shared memory");
  }
  const int size = staged ? shared_size(batch) : 0;
  const std::unique_ptr<T, AlignedDelete> shared(
      static_cast<T*>(::operator new(size * sizeof(T), std::align_val_t(16))));
  for (int i = 0; i < size; ++i) shared.get()[i] = std::numeric_limits<T>::quiet_NaN();
  HostBlock<State> block;
  for (std::int64_t tile = 0; tile < tiles_of(batch.poses); ++tile) run_tile(block, tile, shared.get());
}

}  // namespace

template <class T>
void procrustes_tiles(const ProcrustesBatch<T>& batch, bool staged) {
  each_tile<T, Alignment<double>>(batch, staged, [&](auto& block, std::int64_t tile, T* shared) {
    staged ? align_tile<T, true>(block, batch, tile, shared) : align_tile<T, false>(block, batch, tile, shared);
  });
}

template <class T>
void aligned_errors_tiles(const AlignedErrorsBatch<T>& batch, bool staged) {
  each_tile<T, AlignedErrorsState>(batch, staged, [&](auto& block, std::int64_t tile, T* shared) {
    staged ? measure_tile<T, true>(block, batch, tile, shared) : measure_tile<T, false>(block, batch, tile, shared);
  });
}

template void procrustes_tiles(const ProcrustesBatch<float>&, bool);
template void procrustes_tiles(const ProcrustesBatch<double>&, bool);
template void aligned_errors_tiles(const AlignedErrorsBatch<float>&, bool);
template void aligned_errors_tiles(const AlignedErrorsBatch<double>&, bool);

}  // namespace ites_fast
