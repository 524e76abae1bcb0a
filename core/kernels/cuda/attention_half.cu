// Attention of half precision on tensor cores, as attention.cu has it for float: a warp has 16 queries, a block 64, and weights stay
// in the registers that products leave them in. Its gradients are attention_half_backward.cu's.
#include "half_tiles.cuh"

const int QUERIES = 64, KEYS = 64, COLUMNS = KEYS / 8;

// What is not finite, to those of the warp's rows that see it: a weight of 0 takes nothing.
template <int D, class T>
__device__ __forceinline__ void mix_others(const float (&weights)[COLUMNS][4], const T* values, float (&mixed)[D / 8][4]) {
  int lane = threadIdx.x % 32;
  for (int key = 0; key < KEYS; key++) {
    float upper = 0, lower = 0;
#pragma unroll
    for (int j = 0; j < COLUMNS; j++)
#pragma unroll
      for (int e = 0; e < 2; e++)
        if (key == j * 8 + lane % 4 * 2 + e) upper = weights[j][e], lower = weights[j][2 + e];
    unsigned above = __ballot_sync(0xffffffffu, upper != 0), below = __ballot_sync(0xffffffffu, lower != 0);
    bool sees[2] = {(above >> lane / 4 * 4 & 15) != 0, (below >> lane / 4 * 4 & 15) != 0};
#pragma unroll
    for (int m = 0; m < D / 8; m++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        float value = read(values[key * (D + 8) + m * 8 + lane % 4 * 2 + e % 2]);
        if (sees[e / 2] && !finite(value)) mixed[m][e] += value;
      }
  }
}

template <int D, class T>
__device__ void attend(Head<T> q, Head<T> k, Head<T> v, const Scores<T>& scores, int first, T* out, int64 apart, float* largest,
                       float* total) {
  DYN_SHARED(T, memory);
  T *queries = memory, *keys = queries + QUERIES * (D + 8), *values = keys + KEYS * (D + 8);
  int lane = threadIdx.x % 32, own = first + threadIdx.x / 32 * 16 + lane / 4, column = lane % 4 * 2;
  load_rows<D, QUERIES, false>(queries, q, first);
  float most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0}, mixed[D / 8][4];
  clear(mixed);
  int until = scores.until(min(first + QUERIES, q.rows));
  for (int key = 0; key < until; key += KEYS) {
    __syncthreads();  // the tiles before are read
    load_rows<D, KEYS, false>(keys, k, key);
    bool all = load_rows<D, KEYS, true>(values, v, key);
    all = __syncthreads_and(all);
    float s[COLUMNS][4];
    multiply_tiles<D>(queries + threadIdx.x / 32 * 16 * (D + 8), keys, s);
    bool plain = !scores.allowed && !scores.mask && key + KEYS <= scores.keys && key + KEYS - 1 <= scores.start + first;
#pragma unroll
    for (int h = 0; h < 2; h++) {
      int row = own + 8 * h;
      float top = -INFINITY;
#pragma unroll
      for (int j = 0; j < COLUMNS; j++)
#pragma unroll
        for (int e = 2 * h; e < 2 * h + 2; e++) {
          if (plain)
            s[j][e] *= scores.scale;
          else
            s[j][e] = row < q.rows ? scores(s[j][e], row, key + j * 8 + column + e % 2) : -INFINITY;
          top = greater(top, s[j][e]);
        }
      top = greater(most[h], quad_reduce(top, Greatest()));
      float base = top == -INFINITY ? 0 : top, shrink = exponential(most[h] - base), added = 0;
      most[h] = top;
#pragma unroll
      for (int j = 0; j < COLUMNS; j++)
#pragma unroll
        for (int e = 2 * h; e < 2 * h + 2; e++) {
          s[j][e] = exponential(s[j][e] - base);
          added += s[j][e];
          if (scores.below && s[j][e] != 0) s[j][e] *= scores.kept(row, key + j * 8 + column + e % 2);
        }
      sum[h] = sum[h] * shrink + quad_reduce(added, Sum());
#pragma unroll
      for (int m = 0; m < D / 8; m++)
#pragma unroll
        for (int e = 2 * h; e < 2 * h + 2; e++) mixed[m][e] = mixed[m][e] == 0 ? 0 : mixed[m][e] * shrink;
    }
    if (all) {
      mix_tiles<D, false>(s, values, mixed);
    } else {
      mix_tiles<D, true>(s, values, mixed);
      mix_others<D>(s, values, mixed);
    }
  }
#pragma unroll
  for (int h = 0; h < 2; h++) {
    int row = own + 8 * h;
    if (row >= q.rows) continue;
    write_row(mixed, h, sum[h] == 0 ? 0 : 1 / sum[h], out + row * apart, v.width);
    if (largest && column == 0) {
      largest[row] = most[h] == -INFINITY ? 0 : most[h];
      total[row] = sum[h];
    }
  }
}

// As in attention.cu: out (batch, queries, heads, deep); statistics (2, batch, heads, queries) or null; the last queries first.
#define ATTENTION(D, S, T)                                                                                                   \
  extern "C" __global__ void __launch_bounds__(CREW) attention_##D##_##S(                                                       \
      const T* q, HEADS(q), const T* k, HEADS(k), const T* v, HEADS(v), T* out, WIDE_##S* statistics, int batch, int heads,  \
      int shared_heads, int queries, int keys, int wide, int deep, SCORES(T)) {                                              \
    int tiles = (queries + QUERIES - 1) / QUERIES, at = blockIdx.x / tiles, b = at / heads, h = at % heads;                  \
    int first = (tiles - 1 - blockIdx.x % tiles) * QUERIES, shared = h / (heads / shared_heads);                             \
    int64 row = (int64)at * queries, all = (int64)batch * heads * queries;                                                   \
    attend<D, T>(HEAD(T, q, h, queries, wide), HEAD(T, k, shared, keys, wide), HEAD(T, v, shared, keys, deep), SCORES_OF(T, b, h),    \
                 first, out + ((int64)b * queries * heads + h) * deep, (int64)heads * deep,                                  \
                 statistics ? statistics + row : statistics, statistics + all + row);                                        \
  }
#define DEFINE(S, T)      \
  ATTENTION(64, S, T)     \
  ATTENTION(128, S, T)    \
  ATTENTION(256, S, T)
FOR_HALVES(DEFINE)
