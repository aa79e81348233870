// Products of rows and packed matrices, in the instruction set that this file is compiled for.
#pragma once

#include <cstdint>
#include <type_traits>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "infer.h"

#if defined(__clang__)
#define ITES_FAST_UNROLL _Pragma("unroll")
#else
#define ITES_FAST_UNROLL _Pragma("GCC unroll 32")
#endif

namespace ites_fast {
// Internal linkage: this header is compiled for several instruction sets, and a merged symbol could put AVX-512
// instructions on the path of a processor that lacks them. No standard algorithm or container here, for that reason.
namespace {

// A tile of kRows rows and kPanels panels is summed in registers: 24 of 32 with AVX-512, 12 of 16 with AVX2, 8 else.
#if defined(__AVX512F__)
constexpr int kLanes = 16, kRows = 6, kPanels = 4;
#elif defined(__AVX2__)
constexpr int kLanes = 8, kRows = 6, kPanels = 1;
#else
constexpr int kLanes = 4, kRows = 2, kPanels = 1;
#endif
constexpr int kVectors = kPanel / kLanes;  // of a panel's row
constexpr int kDepth = 128;                // inputs at a time: their weights stay in the first-level cache
constexpr int kRowPanels = 8 / kVectors;   // of a tile of one row: 8 sums that do not wait for each other

typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));
typedef Lanes Unaligned __attribute__((aligned(4), may_alias));
typedef std::int32_t Integers __attribute__((vector_size(kLanes * sizeof(float))));

inline Lanes load(const float* source) { return *reinterpret_cast<const Unaligned*>(source); }
inline void store(float* target, Lanes value) { *reinterpret_cast<Unaligned*>(target) = value; }

// float16, as bits.
struct Half {
  std::uint16_t bits;
};

inline Lanes load(const Half* source) {
#if defined(__AVX512F__)
  return _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source)));
#elif defined(__AVX2__)
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(source)));
#else
  // The exponent's bias differs by 112; a product also gets those right that are subnormal as float16.
  typedef std::uint16_t Halves __attribute__((vector_size(kLanes * sizeof(Half)), aligned(2), may_alias));
  const Integers bits = __builtin_convertvector(*reinterpret_cast<const Halves*>(source), Integers);
  const Integers magnitude = (bits & 0x7fff) << 13;
  const Lanes finite = reinterpret_cast<Lanes>(magnitude) * 0x1p112f;
  const Integers special = (bits & 0x7fff) >= 0x7c00;
  const Integers value = (special & (magnitude | 0x7f800000)) | (~special & reinterpret_cast<Integers>(finite));
  return reinterpret_cast<Lanes>(value | ((bits & 0x8000) << 16));
#endif
}

// NaN stays NaN.
inline Lanes relu(Lanes x) { return x < 0.0f ? Lanes{} : x; }

inline float sum(Lanes x) {
  float values[kLanes];
  store(values, x);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) values[i] += values[i + half];
  }
  return values[0];
}

inline float dot(const float* a, const float* b, int size) {
  Lanes total = {};
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) total += load(a + i) * load(b + i);
  float rest = 0;
  for (; i < size; ++i) rest += a[i] * b[i];
  return sum(total) + rest;
}

// sums (R, 16 P) = x (R, depth) times P panels, or added to what is there.
template <int R, int P, class Weight>
void tile(const float* x, std::ptrdiff_t x_stride, const Weight* weights, std::ptrdiff_t panel_stride, int depth,
          bool add, float* sums, std::ptrdiff_t sums_stride) {
  constexpr int kColumns = P * kVectors;
  Lanes total[R][kColumns];
  ITES_FAST_UNROLL for (int r = 0; r < R; ++r) {
    ITES_FAST_UNROLL for (int c = 0; c < kColumns; ++c) {
      total[r][c] = add ? load(sums + r * sums_stride + c * kLanes) : Lanes{};
    }
  }
  for (int k = 0; k < depth; ++k) {
    Lanes row[kColumns];
    ITES_FAST_UNROLL for (int c = 0; c < kColumns; ++c) {
      row[c] = load(weights + c / kVectors * panel_stride + k * kPanel + c % kVectors * kLanes);
    }
    ITES_FAST_UNROLL for (int r = 0; r < R; ++r) {
      const float value = x[r * x_stride + k];
      ITES_FAST_UNROLL for (int c = 0; c < kColumns; ++c) total[r][c] += value * row[c];
    }
  }
  ITES_FAST_UNROLL for (int r = 0; r < R; ++r) {
    ITES_FAST_UNROLL for (int c = 0; c < kColumns; ++c) store(sums + r * sums_stride + c * kLanes, total[r][c]);
  }
}

template <class Weight>
using Tile = void (*)(const float*, std::ptrdiff_t, const Weight*, std::ptrdiff_t, int, bool, float*, std::ptrdiff_t);

constexpr int at_most(int rows) { return rows < kRows ? rows : kRows; }

template <int P, class Weight>
Tile<Weight> tile_of(int rows) {
  constexpr Tile<Weight> tiles[] = {tile<at_most(1), P, Weight>, tile<at_most(2), P, Weight>,
                                    tile<at_most(3), P, Weight>, tile<at_most(4), P, Weight>,
                                    tile<at_most(5), P, Weight>, tile<at_most(6), P, Weight>};
  return tiles[rows - 1];
}

// How many of the panels that are left a tile of `rows` rows takes.
int panels_of_tile(int rows, int left) {
  if (rows == 1 && left >= kRowPanels) return kRowPanels;
  if (left >= kPanels) return kPanels;
  return kPanels >= 2 && left >= 2 ? 2 : 1;
}

template <class Weight>
Tile<Weight> choose_tile(int rows, int panels) {
  if (panels == 1) return tile_of<1, Weight>(rows);
  if (panels == kPanels) return tile_of<kPanels, Weight>(rows);
  return panels == kRowPanels ? tile<1, kRowPanels, Weight> : tile_of<kPanels >= 2 ? 2 : 1, Weight>(rows);
}

// Rows times a packed matrix.
template <class Weight>
struct Product {
  const float* x;  // (rows, depth), `x_stride` apart
  std::ptrdiff_t x_stride;
  int rows;
  const Weight* weights;  // (panels, depth, 16)
  int depth;
  int panels;
  bool add;     // to what `sums` holds
  float* sums;  // (rows, 16 panels), written
};

// Computes `sums`, and calls finish(row, column, sum) for each vector of them while it is in the first-level cache.
// `converted` has room for kConverted floats, for float16 weights that are used more than once.
constexpr int kConverted = kPanels * kDepth * kPanel;

template <class Weight, class Finish>
void multiply(const Product<Weight>& p, float* converted, const Finish& finish) {
  const int blocks = (p.rows + kRows - 1) / kRows;
  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(p.panels) * kPanel;
  for (int panel = 0, taken; panel < p.panels; panel += taken) {
    taken = panels_of_tile(p.rows, p.panels - panel);
    const Weight* const weights = p.weights + static_cast<std::ptrdiff_t>(panel) * p.depth * kPanel;
    for (int k = 0, depth; k < p.depth; k += depth) {
      // Weights that are used once are read from one end to the other.
      depth = blocks > 1 && p.depth - k > kDepth ? kDepth : p.depth - k;
      const auto run = [&](const auto* part, std::ptrdiff_t part_stride) {
        for (int block = 0, row = 0, count; block < blocks; ++block, row += count) {
          count = (p.rows - row + blocks - block - 1) / (blocks - block);
          float* const sums = p.sums + row * stride + panel * kPanel;
          choose_tile<std::decay_t<decltype(*part)>>(count, taken)(p.x + row * p.x_stride + k, p.x_stride, part,
                                                                   part_stride, depth, p.add || k > 0, sums, stride);
          if (k + depth < p.depth) continue;
          for (int r = 0; r < count; ++r) {
            for (int c = 0; c < taken * kPanel; c += kLanes) {
              finish(row + r, panel * kPanel + c, load(sums + r * stride + c));
            }
          }
        }
      };
      const Weight* const part = weights + k * kPanel;
      if constexpr (std::is_same_v<Weight, Half>) {
        if (blocks > 1) {
          for (int i = 0; i < taken; ++i) {
            for (int j = 0; j < depth * kPanel; j += kLanes) {
              store(converted + i * depth * kPanel + j, load(part + i * p.depth * kPanel + j));
            }
          }
          run(converted, depth * kPanel);
          continue;
        }
      }
      run(part, p.depth * kPanel);
    }
  }
}

}  // namespace
}  // namespace ites_fast
