// Attention without its weights in memory: the softmax of a query is built up tile by tile of the keys, the result is rescaled
// whenever a greater score turns up. Floor: queries, keys, values and result once through memory; the products take the time.
// Of float and double: attention_half.cu has half precision.
#include "heads.cuh"

template <int D, class T>
__device__ void attend(Head<T> q, Head<T> k, Head<T> v, const Scores<T>& scores, int first, T* out, int64 apart, Wide<T>* largest,
                       Wide<T>* total) {
  typedef Wide<T> W;
  typedef Size<W, D> S;
  DYN_SHARED(W, memory);
  W *queries = memory, *tile = queries + S::ROWS, *weights = tile + S::ROWS;
  load_tile<D>(queries, q, first);
  W most[S::SIDE], sum[S::SIDE], mixed[S::SIDE][S::EACH];
#pragma unroll
  for (int i = 0; i < S::SIDE; i++) {
    most[i] = -INFINITY, sum[i] = 0;
#pragma unroll
    for (int m = 0; m < S::EACH; m++) mixed[i][m] = 0;
  }
  int until = scores.until(min(first + S::TILE, q.rows));
  for (int key = 0; key < until; key += S::TILE) {
    __syncthreads();  // the values before are read
    load_tile<D>(tile, k, key);
    __syncthreads();
    W s[S::SIDE][S::SIDE];
    multiply_rows<D>(queries, tile, s);
#pragma unroll
    for (int i = 0; i < S::SIDE; i++) {
      int64 row = first + S::row(i);
      W top = -INFINITY;
#pragma unroll
      for (int j = 0; j < S::SIDE; j++) {
        s[i][j] = row < q.rows ? scores(s[i][j], row, key + S::column(j)) : (W)-INFINITY;
        top = greater(top, s[i][j]);
      }
      top = greater(most[i], row_reduce(top, Greatest()));
      W base = top == (W)-INFINITY ? (W)0 : top, shrink = exponential(most[i] - base), added = 0;
      most[i] = top;
#pragma unroll
      for (int j = 0; j < S::SIDE; j++) {
        s[i][j] = exponential(s[i][j] - base);
        added += s[i][j];
        if (scores.below && s[i][j] != 0) s[i][j] *= scores.kept(row, key + S::column(j));
      }
      sum[i] = sum[i] * shrink + row_reduce(added, Sum());
#pragma unroll
      for (int m = 0; m < S::EACH; m++) mixed[i][m] = mixed[i][m] == 0 ? (W)0 : mixed[i][m] * shrink;
    }
    keep_weights<D>(weights, s);
    __syncthreads();  // the keys are read
    bool all = load_tile<D>(tile, v, key);
    if (__syncthreads_and(all))
      mix<D, false>(weights, tile, mixed);
    else
      mix<D, true>(weights, tile, mixed);
  }
#pragma unroll
  for (int i = 0; i < S::SIDE; i++) {
    int row = first + S::row(i);
    if (row >= q.rows) continue;
    W by = sum[i] == 0 ? (W)0 : 1 / sum[i];
#pragma unroll
    for (int m = 0; m < S::EACH; m++)
      if (S::feature(m) < v.width) out[row * apart + S::feature(m)] = write<T>(sum[i] == 0 ? (W)0 : mixed[i][m] * by);
    if (largest && threadIdx.x % 16 == 0) {
      largest[row] = most[i] == (W)-INFINITY ? (W)0 : most[i];
      total[row] = sum[i];
    }
  }
}

// out (batch, queries, heads, deep); statistics (2, batch, heads, queries) or null. A block has a tile of queries, the last first:
// under a causal mask they have the most to do.
#define ATTENTION(D, S, T)                                                                                                   \
  extern "C" __global__ void __launch_bounds__(THREADS, 1) attention_##D##_##S(                                                 \
      const T* q, HEADS(q), const T* k, HEADS(k), const T* v, HEADS(v), T* out, WIDE_##S* statistics, int batch, int heads,  \
      int shared_heads, int queries, int keys, int wide, int deep, SCORES(T)) {                                              \
    int tiles = (queries + Size<Wide<T>, D>::TILE - 1) / Size<Wide<T>, D>::TILE, at = blockIdx.x / tiles;                    \
    int b = at / heads, h = at % heads, first = (tiles - 1 - blockIdx.x % tiles) * Size<Wide<T>, D>::TILE;                   \
    int shared = h / (heads / shared_heads);                                                                                 \
    int64 row = (int64)at * queries, all = (int64)batch * heads * queries;                                                   \
    attend<D, T>(HEAD(T, q, h, queries, wide), HEAD(T, k, shared, keys, wide), HEAD(T, v, shared, keys, deep), SCORES_OF(T, b, h),    \
                 first, out + ((int64)b * queries * heads + h) * deep, (int64)heads * deep,                                  \
                 statistics ? statistics + row : statistics, statistics + all + row);                                        \
  }
#define DEFINE(S, T)      \
  ATTENTION(64, S, T)     \
  ATTENTION(128, S, T)    \
  ATTENTION(256, S, T)
FOR_WIDE(DEFINE)
