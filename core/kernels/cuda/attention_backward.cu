// The gradients of attention, in two passes that compute the weights anew from each query's largest score and sum: one block for
// each tile of queries, then one for each tile of keys, which goes through all queries of the heads that share it. So every
// sum has one place and one order. Of float and double: attention_half_backward.cu has half precision.
#include "heads.cuh"

// Weights of a tile, in place of their products: exp(score - largest) / total, and 0 where that is of nothing.
template <class W> __device__ __forceinline__ W weight_of(W score, W largest, W total) {
  return total == 0 || score == (W)-INFINITY ? (W)0 : exponential(score - largest) / total;
}

template <int D, class T> __device__ __forceinline__ void write_tile(const Wide<T> (&sums)[Size<Wide<T>, D>::SIDE][Size<Wide<T>, D>::EACH],
                                                                     T* to, int64 apart, int first, int rows, int width) {
  typedef Size<Wide<T>, D> S;
#pragma unroll
  for (int i = 0; i < S::SIDE; i++)
#pragma unroll
    for (int m = 0; m < S::EACH; m++)
      if (first + S::row(i) < rows && S::feature(m) < width)
        to[(first + S::row(i)) * apart + S::feature(m)] = write<T>(sums[i][m]);
}

template <int D, class T>
__device__ void queries_gradient(Head<T> g, Head<T> q, Head<T> k, Head<T> v, Head<T> out, const Scores<T>& scores, int first,
                                 const Wide<T>* largest, const Wide<T>* total, Wide<T>* along, T* to, int64 apart) {
  typedef Wide<T> W;
  typedef Size<W, D> S;
  DYN_SHARED(W, memory);
  W *queries = memory, *slopes = queries + S::ROWS, *tile = slopes + S::ROWS, *weights = tile + S::ROWS;
  load_tile<D>(queries, q, first);
  load_tile<D>(slopes, g, first);
  __syncthreads();
  W mean[S::SIDE], sums[S::SIDE][S::EACH];  // mean: of each query's slopes, as its weights say
#pragma unroll
  for (int i = 0; i < S::SIDE; i++) {
    int row = first + S::row(i);
    W sum = 0;
    if (row < q.rows)
      for (int m = threadIdx.x % 16; m < v.width; m += 16) sum += slopes[S::row(i) * S::WIDTH + m] * read(out.at[row * out.apart + m]);
    mean[i] = row_reduce(sum, Sum());
    if (row < q.rows && threadIdx.x % 16 == 0) along[row] = mean[i];
#pragma unroll
    for (int m = 0; m < S::EACH; m++) sums[i][m] = 0;
  }
  int until = scores.until(min(first + S::TILE, q.rows));
  for (int key = 0; key < until; key += S::TILE) {
    W s[S::SIDE][S::SIDE], d[S::SIDE][S::SIDE];
    __syncthreads();  // the keys before are read
    load_tile<D>(tile, v, key);
    __syncthreads();
    multiply_rows<D>(slopes, tile, d);
    __syncthreads();
    load_tile<D>(tile, k, key);
    __syncthreads();
    multiply_rows<D>(queries, tile, s);
#pragma unroll
    for (int i = 0; i < S::SIDE; i++)
#pragma unroll
      for (int j = 0; j < S::SIDE; j++) {
        int row = first + S::row(i), column = key + S::column(j);
        W p = row < q.rows ? weight_of(scores(s[i][j], row, column), largest[row], total[row]) : (W)0;
        s[i][j] = p == 0 ? (W)0 : p * (d[i][j] * scores.kept(row, column) - mean[i]) * scores.scale;
      }
    keep_weights<D>(weights, s);
    __syncwarp();  // a row's weights are those of half a warp
    mix<D, false>(weights, tile, sums);
  }
  write_tile<D>(sums, to, apart, first, q.rows, q.width);
}

// What a head of queries adds to the gradients of a tile of keys and values.
template <int D, class T>
__device__ void add_keys_gradient(Head<T> g, Head<T> q, const Scores<T>& scores, int first, const Wide<T>* largest,
                                  const Wide<T>* total, const Wide<T>* along, Wide<T>* memory,
                                  Wide<T> (&of_keys)[Size<Wide<T>, D>::SIDE][Size<Wide<T>, D>::EACH],
                                  Wide<T> (&of_values)[Size<Wide<T>, D>::SIDE][Size<Wide<T>, D>::EACH]) {
  typedef Wide<T> W;
  typedef Size<W, D> S;
  W *keys = memory, *values = keys + S::ROWS, *queries = values + S::ROWS, *slopes = queries + S::ROWS, *weights = slopes + S::ROWS;
  int64 begin = first - scores.start;  // queries before it see none of these keys
  for (int query = begin < 0 ? 0 : begin / S::TILE * S::TILE; query < q.rows; query += S::TILE) {
    W s[S::SIDE][S::SIDE], d[S::SIDE][S::SIDE];
    __syncthreads();  // the tiles before are read
    load_tile<D>(queries, q, query);
    load_tile<D>(slopes, g, query);
    __syncthreads();
    multiply_rows<D>(keys, queries, s);
    multiply_rows<D>(values, slopes, d);
#pragma unroll
    for (int i = 0; i < S::SIDE; i++)
#pragma unroll
      for (int j = 0; j < S::SIDE; j++) {
        int key = first + S::row(i), row = query + S::column(j);
        W p = row < q.rows ? weight_of(scores(s[i][j], row, key), largest[row], total[row]) : (W)0, kept = scores.kept(row, key);
        s[i][j] = p * kept;
        d[i][j] = p == 0 ? (W)0 : p * (d[i][j] * kept - along[row]) * scores.scale;
      }
    keep_weights<D>(weights, s);
    __syncwarp();
    mix<D, false>(weights, slopes, of_values);
    __syncwarp();
    keep_weights<D>(weights, d);
    __syncwarp();
    mix<D, false>(weights, queries, of_keys);
  }
}

#define GRADIENTS(D, S, T)                                                                                                     \
  extern "C" __global__ void __launch_bounds__(THREADS, 1) queries_gradient_##D##_##S(                                            \
      const T* g, HEADS(g), const T* q, HEADS(q), const T* k, HEADS(k), const T* v, HEADS(v), const T* out, HEADS(out),        \
      const WIDE_##S* statistics, WIDE_##S* along, T* gq, int batch, int heads, int shared_heads, int queries, int keys,       \
      int wide, int deep, SCORES(T)) {                                                                                         \
    int tiles = (queries + Size<Wide<T>, D>::TILE - 1) / Size<Wide<T>, D>::TILE, at = blockIdx.x / tiles;                      \
    int b = at / heads, h = at % heads, first = (tiles - 1 - blockIdx.x % tiles) * Size<Wide<T>, D>::TILE;                     \
    int shared = h / (heads / shared_heads);                                                                                   \
    int64 row = (int64)at * queries, all = (int64)batch * heads * queries;                                                     \
    queries_gradient<D, T>(HEAD(T, g, h, queries, deep), HEAD(T, q, h, queries, wide), HEAD(T, k, shared, keys, wide),                  \
                           HEAD(T, v, shared, keys, deep), HEAD(T, out, h, queries, deep), SCORES_OF(T, b, h), first,                \
                           statistics + row, statistics + all + row, along + row,                                              \
                           gq + ((int64)b * queries * heads + h) * wide, (int64)heads * wide);                                 \
  }                                                                                                                            \
  extern "C" __global__ void __launch_bounds__(THREADS, 1) keys_gradient_##D##_##S(                                               \
      const T* g, HEADS(g), const T* q, HEADS(q), const T* k, HEADS(k), const T* v, HEADS(v), const WIDE_##S* statistics,      \
      const WIDE_##S* along, T* gk, T* gv, int batch, int heads, int shared_heads, int queries, int keys, int wide, int deep,  \
      SCORES(T)) {                                                                                                             \
    typedef Size<Wide<T>, D> Z;                                                                                                \
    int tiles = (keys + Z::TILE - 1) / Z::TILE, at = blockIdx.x / tiles, first = blockIdx.x % tiles * Z::TILE;                 \
    int b = at / shared_heads, shared = at % shared_heads, times = heads / shared_heads;                                       \
    int64 all = (int64)batch * heads * queries;                                                                                \
    DYN_SHARED(Wide<T>, memory);                                                                                               \
    load_tile<D>(memory, HEAD(T, k, shared, keys, wide), first);                                                                  \
    load_tile<D>(memory + Z::ROWS, HEAD(T, v, shared, keys, deep), first);                                                        \
    Wide<T> of_keys[Z::SIDE][Z::EACH] = {}, of_values[Z::SIDE][Z::EACH] = {};                                                  \
    for (int h = shared * times; h < (shared + 1) * times; h++) {                                                              \
      int64 row = ((int64)b * heads + h) * queries;                                                                            \
      add_keys_gradient<D, T>(HEAD(T, g, h, queries, deep), HEAD(T, q, h, queries, wide), SCORES_OF(T, b, h), first,                 \
                              statistics + row, statistics + all + row, along + row, memory, of_keys, of_values);              \
    }                                                                                                                          \
    int64 start_of = (int64)b * keys * shared_heads + shared;                                                                  \
    write_tile<D>(of_keys, gk + start_of * wide, (int64)shared_heads * wide, first, keys, wide);                               \
    write_tile<D>(of_values, gv + start_of * deep, (int64)shared_heads * deep, first, keys, deep);                             \
  }
#define DEFINE(S, T)      \
  GRADIENTS(64, S, T)     \
  GRADIENTS(128, S, T)    \
  GRADIENTS(256, S, T)
FOR_WIDE(DEFINE)
